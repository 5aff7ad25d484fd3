// Bots and agents: programs are in no number above; here they are an audience of their own.
const KINDS = {
  crawler: "Crawlers",
  ai_agent: "AI agents",
  monitor: "Monitors",
  script: "Scripts",
};
let botOrder = "page_view_n";

function bots(section, state) {
  const why = "programs are counted by source and date";
  section.replaceChildren(heading("bots", "Bots and agents", unfiltered(state, { channel: why, device: why })));
  if (data.bots.empty) return section.append(empty(data.bots.empty));
  const { first, names, rows } = data.bots;
  const range = rangeOf(state);
  const dayNo = (on) => (asDate(on) - asDate(first)) / 86400000;
  const [from, to] = [dayNo(range.since), dayNo(range.until)];
  const points = pointsOf(range);
  const byRule = new Map();
  const byKind = new Map();
  for (const [source, kind, rule, on, ...lists] of rows) {
    if (state.source !== ALL && source !== state.source) continue;
    on.forEach((n, at) => {
      if (n < from || n > to) return;
      const key = `${kind}\n${rule}`;
      const sum = byRule.get(key) ?? { kind, rule, ...Object.fromEntries(names.map((name) => [name, 0])) };
      names.forEach((name, of) => (sum[name] += lists[of][at]));
      byRule.set(key, sum);
      const found = byKind.get(kind) ?? points.starts.map(() => 0);
      if (points.placeOf(n - from) >= 0) found[points.placeOf(n - from)] += lists[names.indexOf(botOrder)][at];
      byKind.set(kind, found);
    });
  }
  const kinds = [...byKind.keys()].sort();
  const hue = (kind) => {
    const at = Object.keys(KINDS).indexOf(kind);
    return at < 0 ? 8 : at + 1;
  };
  const labels = [
    ["session_n", "Sessions"],
    ["page_view_n", "Page views"],
    ["event_n", "Events"],
  ];
  const label = labels.find(([key]) => key === botOrder)[1];
  const all = [...byRule.values()].reduce((n, sum) => n + sum[botOrder], 0);
  const title = `${label} of programs by ${points.name}`;
  const card = el(
    "div",
    { class: "card" },
    cardHead(
      title,
      el(
        "span",
        { class: "legend" },
        kinds.map((kind) => el("span", {}, mark(`var(--series-${hue(kind)})`), outside(KINDS[kind] ?? kind))),
      ),
      pressed("Measure", labels, botOrder, (key) => {
        botOrder = key;
        bots(section, state);
        drawNew();
        section.querySelector(`[data-choice="${key}"]`)?.focus({ preventScroll: true });
      }),
    ),
  );
  section.append(card);
  if (!byRule.size)
    card.append(
      empty(
        rows.length
          ? `No program came in ${span(range.since, range.until)}: choose a longer range or another source.`
          : "No program has been seen: every visitor so far looks like a person to the rules in use.",
      ),
    );
  else
    card.append(
      points.says ? note(points.says) : "",
      chart(`${title}, ${span(range.since, range.until)}`, 220, (colours) => ({
        grid: plot(),
        xAxis: { ...categories(colours, points.starts, dayShort), boundaryGap: true },
        yAxis: values(colours, (n) => tick.format(n), { minInterval: 1 }),
        tooltip: tip(colours, ([{ dataIndex }]) =>
          tipBox(
            points.title(dataIndex),
            kinds.map((kind) => [
              KINDS[kind] ?? kind,
              count(byKind.get(kind)[dataIndex]),
              colours.series[hue(kind) - 1],
            ]),
          ),
        ),
        series: kinds.map((kind) => ({
          type: "bar",
          stack: "all",
          data: byKind.get(kind),
          barMaxWidth: 34,
          itemStyle: { color: colours.series[hue(kind) - 1] },
          emphasis: { disabled: true },
        })),
      })),
      twin(
        `${title}, newest first`,
        [
          { label: points.label, text: (at) => day(points.starts[at]) },
          ...kinds.map((kind) => ({
            label: KINDS[kind] ?? kind,
            number: true,
            text: (at) => count(byKind.get(kind)[at]),
          })),
        ],
        points.starts.map((_, at) => at).reverse(),
      ),
      table(
        `Programs by the rule that named them, ${span(range.since, range.until)}`,
        [
          { label: "Rule", cell: (row) => outside(row.rule) },
          {
            label: "Kind",
            cell: (row) => el("span", { class: "named" }, mark(`var(--series-${hue(row.kind)})`), outside(KINDS[row.kind] ?? row.kind)),
          },
          ...labels.map(([key, name]) => ({ label: name, number: true, text: (row) => count(row[key]) })),
          { label: `Share of ${label.toLowerCase()}`, number: true, cell: (row) => (all ? share(row[botOrder] / all) : without("none")) },
        ],
        [...byRule.values()].sort((a, b) => b[botOrder] - a[botOrder] || (a.rule < b.rule ? -1 : 1)).slice(0, 25),
        { visible: true, className: "dense" },
      ),
      byRule.size > 25 ? note(`${plural(byRule.size - 25, "rule")} with less are in marts.bots_daily.`) : "",
    );
  section.append(botChanges());
}

const audience = (kind, rule) =>
  el("span", { class: "named" }, kind === null ? "people" : outside(`${KINDS[kind] ?? kind}: ${rule ?? NONE}`));

function botChanges() {
  const changes = data.bots.changes;
  const card = el("div", { class: "card" }, cardHead("What moved when a rule changed"));
  card.append(
    changes?.length
      ? table(
          "Events, sessions and visitors that changed sides, newest build first",
          [
            { label: "Build", text: (row) => String(row.build_id) },
            { label: "Counted", text: (row) => row.counted },
            { label: "Were", cell: (row) => audience(row.was_kind, row.was_rule) },
            { label: "Are now", cell: (row) => audience(row.now_kind, row.now_rule) },
            { label: "Moved", number: true, text: (row) => count(row.moved_n) },
          ],
          changes,
          { className: "dense" },
        )
      : empty(
          changes
            ? "No rule about programs has changed since the first build; when one does, what it moves stands here."
            : "The published file has no meta.bot_changes yet: build and publish with this version.",
        ),
  );
  return card;
}
