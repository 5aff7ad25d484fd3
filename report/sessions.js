// Sessions by what cut them: which rule ended the one before and began the next.
const RULES = {
  gap: "silence longer than the gap, or the device's first visit",
  cap: "a run longer than the cap, cut at midnight UTC",
  midnight: "midnight where the site is",
  client_id: "the client named another session",
  campaign: "another campaign brought the visitor back",
  user_change: "another customer on the same device",
  manual: "an event asked for a new session",
};

function sessions(section, state) {
  section.replaceChildren(heading("sessions", "Sessions by what cut them"));
  if (data.sessions.empty) return section.append(empty(data.sessions.empty));
  const { first, last, names, rules, rows } = data.sessions;
  const asked = data.period ? rangeOf(state) : { since: first, until: last };
  const range = {
    since: asked.since < first ? first : asked.since,
    until: asked.until > last ? last : asked.until,
  };
  if (range.since !== asked.since || range.until !== asked.until)
    section.firstChild.append(
      el("p", { class: "note unfiltered" }, `Sessions are published for ${span(first, last)} only ([publish] events_days).`),
    );
  if (range.since > range.until)
    return section.append(
      empty(`No session of ${span(asked.since, asked.until)} is published: choose dates from ${day(first)} on.`),
    );
  const day0 = (on) => (asDate(on) - asDate(first)) / 86400000;
  const [from, to] = [day0(range.since), day0(range.until)];
  const points = pointsOf(range);
  const found = new Map(
    rules.map((rule) => [
      rule,
      { rule, drawn: points.starts.map(() => 0), ...Object.fromEntries(names.map((name) => [name, 0])) },
    ]),
  );
  const wanted = chosenIn(state);
  for (const [s, c, d, rule, on, ...lists] of rows) {
    if (![s, c, d].every((value, at) => isIn(wanted[at], value))) continue;
    const sum = found.get(rules[rule]);
    on.forEach((n, at) => {
      if (n < from || n > to) return;
      names.forEach((name, of) => (sum[name] += lists[of][at]));
      if (points.placeOf(n - from) >= 0) sum.drawn[points.placeOf(n - from)] += lists[0][at];
    });
  }
  const all = [...found.values()].reduce((n, sum) => n + sum.session_n, 0);
  if (!all)
    return section.append(
      empty(`No session began in ${span(range.since, range.until)}: choose a longer range or another filter.`),
    );
  const shown = [...found.values()].filter((sum) => sum.session_n).sort((a, b) => b.session_n - a.session_n);
  const never = Object.keys(RULES).filter((rule) => !found.get(rule)?.session_n);
  const cuts = shown.filter((sum) => sum.rule !== "gap");
  const hue = (rule) => Object.keys(RULES).indexOf(rule) % 7;
  const per = (part, whole, format) =>
    whole ? format(part / whole) : without("none over");
  section.append(
    el(
      "div",
      { class: "card" },
      table(
        `Sessions by the rule that began them, ${span(range.since, range.until)}`,
        [
          { label: "Rule", cell: (row) => el("span", { class: "named" }, mark(`var(--series-${hue(row.rule) + 1})`), outside(row.rule)) },
          { label: "Began because of", text: (row) => RULES[row.rule] ?? NONE },
          { label: "Sessions", number: true, text: (row) => count(row.session_n) },
          { label: "Share", number: true, text: (row) => share(row.session_n / all) },
          { label: "Page views each", number: true, text: (row) => measure(row.page_view_n / row.session_n) },
          { label: "Mean length", number: true, cell: (row) => per(row.duration_s, row.closed_n, duration) },
          { label: "Engaged", number: true, cell: (row) => per(row.engaged_n, row.closed_n, share) },
          { label: "Conversion", number: true, cell: (row) => per(row.converted_n, row.closed_n, share) },
        ],
        shown,
        { visible: true, className: "dense" },
      ),
      note(
        "Rates are over sessions that are over. ",
        never.length
          ? `No session here began by ${never.join(", ")}: those rules are off under [sessions] in footfall.toml, or were never met.`
          : "",
      ),
    ),
  );
  if (cuts.length)
    section.append(
      el(
        "div",
        { class: "card" },
        cardHead(
          `Cut by a rule other than silence, by ${points.name}`,
          el(
            "span",
            { class: "legend" },
            cuts.map((sum) => el("span", {}, mark(`var(--series-${hue(sum.rule) + 1})`), outside(sum.rule))),
          ),
        ),
        points.says ? note(points.says) : null,
        chart(`Sessions cut by a rule other than silence, by ${points.name}`, 190, (colours) => ({
          grid: plot(),
          xAxis: { ...categories(colours, points.starts, dayShort), boundaryGap: true },
          yAxis: values(colours, (n) => tick.format(n), { minInterval: 1 }),
          tooltip: tip(colours, ([{ dataIndex }]) =>
            tipBox(
              points.title(dataIndex),
              cuts.map((sum) => [sum.rule, count(sum.drawn[dataIndex]), colours.series[hue(sum.rule)]]),
            ),
          ),
          series: cuts.map((sum) => ({
            type: "bar",
            stack: "all",
            data: sum.drawn,
            barMaxWidth: 34,
            itemStyle: { color: colours.series[hue(sum.rule)] },
            emphasis: { disabled: true },
          })),
        })),
        twin(
          "Sessions cut by a rule other than silence, newest first",
          [
            { label: points.label, text: (at) => day(points.starts[at]) },
            ...cuts.map((sum) => ({ label: sum.rule, number: true, text: (at) => count(sum.drawn[at]) })),
          ],
          points.starts.map((_, at) => at).reverse(),
        ),
      ),
    );
}
