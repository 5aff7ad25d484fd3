// Funnels: how far people come, how sure that is, how long it takes, and how it moves.
const ATTEMPTS = "the published attempts do not say it yet: build and publish with this version";
function funnels(section, state) {
  section.replaceChildren(heading("funnels", "Funnels", unfiltered(state, { source: ATTEMPTS, channel: ATTEMPTS, device: ATTEMPTS })));
  if (data.funnels.empty) return section.append(empty(data.funnels.empty));
  for (const funnel of data.funnels) section.append(funnelCard(funnel, prepared(state).key));
}

function funnelCard(funnel, key) {
  const found = funnel.ranges[key] ?? funnel.ranges.all;
  const waiting = funnel.open_periods
    ? `${plural(funnel.open_periods, "newer period")} with ${plural(funnel.open_n, "open attempt")} left out until the time to convert is over.`
    : "No period is waiting.";
  const card = el(
    "div",
    { class: "card" },
    el("div", { class: "card-head" }, el("h3", {}, outside(funnel.name))),
  );
  if (!found) {
    card.append(
      note("No entry period is complete yet, so no rate is known. Reached so far:"),
      table(
        `${funnel.name}, so far`,
        [
          { label: "Step", cell: (at) => outside(funnel.steps[at]) },
          { label: "Reached so far", number: true, text: (at) => count(funnel.to_date[at]) },
        ],
        funnel.steps.map((_, at) => at),
        { visible: true },
      ),
    );
    return card;
  }
  const last = funnel.steps.length - 1;
  const size = { day: "day", week: "week", month: "month" }[funnel.period] ?? "period";
  card.append(
    note(
      `Entered ${span(found.since, found.until)}: ${plural(found.period_n, `complete ${size}`)}. `,
      waiting,
      found.excluded_n ? ` ${plural(found.excluded_n, "attempt")} excluded by rule.` : "",
    ),
    el(
      "div",
      { class: "funnel" },
      el(
        "div",
        {},
        el(
          "div",
          { class: "result" },
          el("span", { class: "figure" }, share(found.overall_pct[last])),
          el(
            "span",
            {},
            `complete it, 95 % interval ${bounds(found.overall_lo[last], found.overall_hi[last])}`,
          ),
          known(found.before_pct)
            ? delta(change(found.overall_pct[last], found.before_pct, { points: true }))
            : null,
        ),
        el(
          "ol",
          { class: "steps" },
          funnel.steps.map((name, at) => funnelStep(found, name, at)),
        ),
      ),
      funnelTrend(funnel, found, size),
    ),
    twin(
      `${funnel.name}: steps, entered ${span(found.since, found.until)}`,
      [
        { label: "Step", cell: (at) => outside(`${at + 1}. ${funnel.steps[at]}`) },
        { label: "Reached", number: true, text: (at) => count(found.reached_n[at]) },
        { label: "Of step before", number: true, text: (at) => share(found.step_pct[at]) },
        { label: "Of all", number: true, text: (at) => share(found.overall_pct[at]) },
        { label: "Low (95 %)", number: true, text: (at) => share(found.overall_lo[at]) },
        { label: "High (95 %)", number: true, text: (at) => share(found.overall_hi[at]) },
        {
          label: "From start, median",
          number: true,
          text: (at) => (at ? duration(found.median_s?.[at]) : NONE),
        },
        {
          label: "From start, 9 of 10 within",
          number: true,
          text: (at) => (at ? duration(found.p90_s?.[at]) : NONE),
        },
        {
          label: "From step before, median",
          number: true,
          text: (at) => (at ? duration(found.prev_s?.[at]) : NONE),
        },
      ],
      funnel.steps.map((_, at) => at),
    ),
  );
  if (found.breakdown.length) {
    card.append(
      table(
        `${funnel.name} by group`,
        [
          { label: "Group", cell: (row) => outside(row[0]) },
          { label: "Entered", number: true, text: (row) => count(row[1]) },
          { label: "Converted", number: true, text: (row) => count(row[2]) },
          { label: "Share", number: true, text: (row) => share(row[3]) },
          { label: "95 % bounds", number: true, text: (row) => bounds(row[4], row[5]) },
        ],
        found.breakdown,
        { visible: true, className: "dense" },
      ),
    );
  }
  return card;
}

function funnelStep(found, name, at) {
  const pct = (value) => `${(value ?? 0) * 100}%`;
  const lost = at ? found.reached_n[at - 1] - found.reached_n[at] : 0;
  return el(
    "li",
    {},
    at
      ? el(
          "p",
          { class: "between" },
          el("span", {}, `${share(found.step_pct[at])} go on`),
          el("span", {}, `${count(lost)} leave`),
          found.prev_s ? el("span", {}, `median ${duration(found.prev_s[at])}`) : null,
        )
      : null,
    el(
      "div",
      { class: "step" },
      el("span", { class: "step-name" }, el("b", {}, String(at + 1)), outside(name)),
      el(
        "span",
        { class: "step-n" },
        el("b", {}, count(found.reached_n[at])),
        el("span", {}, share(found.overall_pct[at])),
      ),
    ),
    el(
      "div",
      { class: "track" },
      el("div", { class: "fill", "--share": pct(found.overall_pct[at]) }),
      at && known(found.overall_lo[at])
        ? el("div", {
            class: "whisker",
            "--from": pct(found.overall_lo[at]),
            "--to": pct(found.overall_hi[at]),
          })
        : null,
    ),
    at && at === found.reached_n.length - 1 && known(found.median_s?.[at])
      ? el(
          "p",
          { class: "between end" },
          el(
            "span",
            {},
            `From first to last step: median ${duration(found.median_s[at])}, nine of ten within ${duration(found.p90_s[at])}`,
          ),
        )
      : null,
  );
}

function funnelTrend(funnel, found, size) {
  const rows = funnel.trend.filter(([start]) => start >= found.since && start <= found.until);
  const named = size === "month" ? month : day;
  const title = `Share that completes it, by ${size} of entry`;
  return el(
    "div",
    { class: "trend" },
    el("h4", {}, title),
    rows.length > 1
      ? chart(`${funnel.name}: ${title}`, 250, (colours) => ({
          grid: plot(),
          xAxis: categories(
            colours,
            rows.map((row) => row[0]),
            size === "month" ? month : dayShort,
          ),
          yAxis: values(colours, shareShort, { min: 0 }),
          tooltip: tip(colours, ([{ dataIndex }]) =>
            tipBox(named(rows[dataIndex][0]), [
              ["Entered", count(rows[dataIndex][1])],
              ["Completed", count(rows[dataIndex][2])],
              ["Share", share(rows[dataIndex][3]), colours.accent],
              ["95 % bounds", bounds(rows[dataIndex][4], rows[dataIndex][5])],
            ]),
          ),
          series: [
            {
              type: "line",
              stack: "bounds",
              data: rows.map((row) => row[4]),
              symbol: "none",
              lineStyle: { opacity: 0 },
              silent: true,
            },
            {
              type: "line",
              stack: "bounds",
              data: rows.map((row) => (known(row[4]) ? row[5] - row[4] : null)),
              symbol: "none",
              lineStyle: { opacity: 0 },
              areaStyle: { color: colours.accent, opacity: 0.14 },
              silent: true,
            },
            {
              type: "line",
              data: rows.map((row) => row[3]),
              symbol: "none",
              lineStyle: { color: colours.accent, width: 2 },
              itemStyle: { color: colours.accent },
            },
          ],
        }))
      : note("A line needs two complete periods."),
    note("The band is the 95 % Wilson interval."),
    twin(
      `${funnel.name}: ${title}, newest first`,
      [
        { label: "Entered in", text: (row) => named(row[0]) },
        { label: "Entered", number: true, text: (row) => count(row[1]) },
        { label: "Completed", number: true, text: (row) => count(row[2]) },
        { label: "Share", number: true, text: (row) => share(row[3]) },
        { label: "Low", number: true, text: (row) => share(row[4]) },
        { label: "High", number: true, text: (row) => share(row[5]) },
      ],
      [...rows].reverse(),
    ),
  );
}
