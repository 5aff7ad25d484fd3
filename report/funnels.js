// Funnels: how far people come, how sure that is, how long it takes, and how it moves.
const ATTEMPTS = "the published attempts do not say it, or are too many for this file; footfall funnel --by answers it";
function funnels(section, state) {
  section.replaceChildren(heading("funnels", "Funnels"));
  if (data.funnels.empty) return section.append(empty(data.funnels.empty));
  for (const funnel of data.funnels) section.append(funnelCard(funnel, state));
}

// what of a funnel a reader has chosen to look at: the breakdown and the step whose drop-outs are shown, by name
const looked = new Map();

function funnelCard(funnel, state) {
  const card = el("div", { class: "card" });
  const show = (focus) => {
    card.replaceChildren(...funnelParts(funnel, state, show));
    drawNew();
    if (focus) card.querySelector(focus)?.focus({ preventScroll: true });
  };
  card.append(...funnelParts(funnel, state, show));
  return card;
}

// the entry periods that the chosen dates mean: the newest complete ones of that length, or those that begin in them
function funnelPeriods(funnel, state) {
  const starts = funnel.trend.map(([start]) => start);
  const isPreset = presets.some(({ key }) => key === state.range);
  const range = data.period ? rangeOf(state) : null;
  if (isPreset || !range) {
    const found = funnel.ranges[state.range] ?? funnel.ranges.all;
    return starts.map((start) => start >= found.since && start <= found.until);
  }
  return starts.map((start) => start >= range.since && start <= range.until);
}

// the dates of the counted entry periods, each of them whole
function entered(funnel, { since, until }) {
  const starts = funnel.trend.map(([start]) => start).filter((start) => start >= since && start <= until);
  const [first, last] = [starts[0] ?? since, starts.at(-1) ?? until];
  if (funnel.period === "all") return `from ${day(first)} on`;
  if (funnel.period === "week") return span(first, addDays(last, 6));
  if (funnel.period === "month") return span(first, addDays(`${addDays(last, 31).slice(0, 7)}-01`, -1));
  return span(first, last);
}

// sums over the chosen periods and filters in the shape of a prepared range; medians are kept for prepared ranges only
function funnelSums(funnel, state) {
  const isPreset = !data.period || presets.some(({ key }) => key === state.range);
  const isWhole = isPreset && !isCut(state) && state.source === ALL;
  const ready = funnel.ranges[state.range] ?? funnel.ranges.all;
  if (isWhole || !funnel.cells) return ready;
  const isIncluded = funnelPeriods(funnel, state);
  const starts = funnel.trend.map(([start]) => start).filter((_, at) => isIncluded[at]);
  if (!starts.length) return null;
  const depths = funnel.steps.map(() => 0);
  let excluded_n = 0;
  eachCell(funnel.cells.rows, state, isIncluded, (row, at) => {
    depths.forEach((_, depth) => (depths[depth] += row[5 + depth][at]));
    excluded_n += row[5 + depths.length][at];
  });
  return { since: starts[0], until: starts.at(-1), period_n: starts.length, excluded_n, ...sharesOf(depths) };
}

function eachCell(rows, state, isIncluded, see, at = 4) {
  const wanted = chosenIn(state);
  for (const row of rows)
    if (wanted.every((value, name) => isIn(value, row[name])))
      row[at].forEach((period, place) => {
        if (isIncluded[period]) see(row, place, period);
      });
}

// attempts by how deep they came, as those who reached each step, with shares and Wilson bounds
function sharesOf(depths) {
  const reached_n = depths.map((_, at) => depths.slice(at).reduce((a, b) => a + b, 0));
  const [n] = reached_n;
  const found = reached_n.map((hits) => wilson(hits, n));
  return {
    reached_n,
    step_pct: reached_n.map((hits, at) => (at && reached_n[at - 1] ? hits / reached_n[at - 1] : null)),
    overall_pct: reached_n.map((hits) => (n ? hits / n : null)),
    overall_lo: found.map(([low]) => low),
    overall_hi: found.map(([, high]) => high),
    breakdown: [],
  };
}

// E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927): 95 %
function wilson(hits, n, z = 1.959964) {
  if (!n) return [null, null];
  const p = hits / n;
  const centre = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))) / (1 + (z * z) / n);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

function funnelParts(funnel, state, show) {
  const isReady = Object.keys(funnel.ranges).length > 0;
  const found = isReady ? funnelSums(funnel, state) : null;
  const waiting = funnel.open_periods
    ? `${plural(funnel.open_periods, "newer period")} with ${plural(funnel.open_n, "open attempt")} left out until the time to convert is over.`
    : "No period is waiting.";
  const head = cardHead(outside(funnel.name));
  if (!isReady)
    return [
      head,
      note("No entry period is complete yet, so no rate is known. Reached so far:"),
      table(
        `${funnel.name}, so far`,
        [
          { label: "Step", cell: (at) => outside(funnel.steps[at]) },
          { label: "Reached so far", number: true, text: (at) => count(funnel.to_date[at]) },
          { label: "Rate", number: true, cell: () => without("not over", "the time to convert is not over") },
        ],
        funnel.steps.map((_, at) => at),
        { visible: true },
      ),
    ];
  const left = funnel.cells
    ? null
    : unfiltered(state, { source: ATTEMPTS, channel: ATTEMPTS, device: ATTEMPTS, range: ATTEMPTS });
  if (!found)
    return [
      head,
      empty(
        `No entry period in these dates is complete: the time to convert must be over. Complete ones go to ${day(funnel.trend.at(-1)[0])}.`,
      ),
    ];
  const when = entered(funnel, found);
  if (!found.reached_n[0]) {
    const isFiltered = isCut(state) || state.source !== ALL;
    const why = nothingComes("funnel", funnel.name) || (isFiltered ? "choose another filter" : "choose a longer range");
    return [head, left, empty(`Nobody entered ${when}: ${why}.`)].filter(Boolean);
  }
  const card = el("div", {}, head, left);
  const last = funnel.steps.length - 1;
  const size = { day: "day", week: "week", month: "month" }[funnel.period] ?? "period";
  card.append(
    note(
      `Entered ${when}: ${plural(found.period_n, `complete ${size}`)}. `,
      waiting,
      found.excluded_n ? ` ${plural(found.excluded_n, "attempt")} excluded by rule.` : "",
      found.median_s ? "" : " Medians are kept for whole ranges without a filter; the spread of times is below.",
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
      funnelTrend(funnel, found, size, state),
    ),
    twin(
      `${funnel.name}: steps, entered ${when}`,
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
  if (funnel.cells) card.append(...funnelMore(funnel, state, show));
  else if (found.breakdown.length)
    card.append(
      table(
        `${funnel.name} by group`,
        [
          { label: "Group", cell: (row) => outside(row[0]) },
          { label: "Entered", number: true, text: (row) => count(row[1]) },
          { label: "Converted", number: true, text: (row) => count(row[2]) },
          { label: "Share", number: true, text: (row) => share(row[3]) },
          { label: "95 % bounds", number: true, cell: (row) => boundsBar(row[4], row[5]) },
        ],
        found.breakdown,
        { visible: true, className: "dense" },
      ),
    );
  return [...card.childNodes];
}

const LASTED = ["under 1 min", "1 – 5 min", "5 – 15 min", "15 – 60 min", "1 – 3 h", "3 – 12 h", "12 – 24 h", "1 – 3 d", "3 – 7 d", "7 – 14 d", "14 d and more"];

// by group, how long it took, and what those who dropped did next
function funnelMore(funnel, state, show) {
  const isIncluded = funnelPeriods(funnel, state);
  const { cells, steps } = funnel;
  const chosen = looked.get(funnel.name) ?? {};
  const choose = (part, focus) => {
    looked.set(funnel.name, { ...chosen, ...part });
    show(focus);
  };
  const dimensions = [
    ...(cells.groups.length > 1 || cells.groups[0] !== "(all)" ? [["group", "As defined"]] : []),
    ...["channel", "device", "source"].filter((name) => data.cube[`${name}s`].length > 1).map((name) => [name, capital(name)]),
  ];
  const parts = [];
  if (dimensions.length) {
    const by = dimensions.some(([key]) => key === chosen.by) ? chosen.by : dimensions[0][0];
    const place = ["source", "channel", "device", "group"].indexOf(by);
    const names = by === "group" ? cells.groups : data.cube[`${by}s`];
    const groups = new Map();
    eachCell(cells.rows, state, isIncluded, (row, at) => {
      const depths = groups.get(row[place]) ?? steps.map(() => 0);
      steps.forEach((_, depth) => (depths[depth] += row[5 + depth][at]));
      groups.set(row[place], depths);
    });
    const rows = [...groups].map(([value, depths]) => [names[value] ?? "(other)", sharesOf(depths)]);
    const last = steps.length - 1;
    const few = (one) => one.reached_n[0] < FEW_PEOPLE;
    parts.push(
      el(
        "div",
        { class: "card-head part" },
        el("h4", {}, "By group"),
        pressed("Break down by", dimensions, by, (key) => choose({ by: key }, `[aria-label="Break down by"] [data-choice="${key}"]`)),
      ),
      table(
        `${funnel.name} by ${by}`,
        [
          { label: capital(by), cell: (row) => outside(row[0]) },
          { label: "Entered", number: true, text: (row) => count(row[1].reached_n[0]) },
          { label: "Converted", number: true, text: (row) => count(row[1].reached_n[last]) },
          {
            label: "Share",
            number: true,
            cell: (row) => (few(row[1]) ? without("too few", `fewer than ${FEW_PEOPLE} entered`) : share(row[1].overall_pct[last])),
          },
          {
            label: "95 % bounds",
            number: true,
            cell: (row) => boundsBar(row[1].overall_lo[last], row[1].overall_hi[last]),
          },
        ],
        rows.sort((a, b) => b[1].reached_n[0] - a[1].reached_n[0]).slice(0, 14),
        { className: "dense" },
      ),
    );
  }
  const took = cells.edges.map(() => 0);
  eachCell(cells.times, state, isIncluded, (row, at) => (took[row[5][at]] += row[6][at]));
  const done = took.reduce((a, b) => a + b, 0);
  const times = el("div", {}, el("h4", { class: "part" }, "Time to convert"));
  if (!done) times.append(note("Nobody converted, so there is no time to show."));
  else
    times.append(
      table(
        `${funnel.name}: time from the first step to the last`,
        [
          { label: "Within", text: (at) => LASTED[at] },
          { label: "Converted", number: true, cell: (at) => barCell(took[at], Math.max(...took)) },
          { label: "Share", number: true, text: (at) => share(took[at] / done) },
          {
            label: "So far",
            number: true,
            text: (at) => share(took.slice(0, at + 1).reduce((a, b) => a + b, 0) / done),
          },
        ],
        took.map((_, at) => at).slice(0, took.findLastIndex((n) => n) + 1),
        { className: "dense" },
      ),
      done < FEW_PEOPLE ? note(`Only ${plural(done, "conversion")}: single stories, not a pattern.`) : "",
    );
  const depths = steps.slice(0, -1).map(() => new Map());
  eachCell(
    cells.next,
    state,
    isIncluded,
    (row, at) => {
      const found = depths[row[3] - 1];
      found.set(row[4], (found.get(row[4]) ?? 0) + row[6][at]);
    },
    5,
  );
  const lost = depths.map((found) => [...found.values()].reduce((a, b) => a + b, 0));
  const most = lost.indexOf(Math.max(...lost));
  const step = chosen.step ?? most;
  const rows = [...depths[step]].sort((a, b) => (cells.nodes[a[0]] === "(other)") - (cells.nodes[b[0]] === "(other)") || b[1] - a[1]);
  const after = el(
    "div",
    {},
    el(
      "div",
      { class: "card-head part" },
      el("h4", {}, "What those who dropped did next"),
      select(
        "After which step",
        lost.map((n, at) => [String(at), `after ${at + 1}. ${steps[at]} (${count(n)})`]),
        String(step),
        (at) => choose({ step: Number(at) }, '[aria-label="After which step"]'),
      ),
    ),
    note(
      "The first page or event after the last step they reached, in the same visit; clicks alone do not count. Attempts that are excluded are left out.",
    ),
    rows.length
      ? table(
          `${funnel.name}: next after ${steps[step]}`,
          [
            {
              label: "Next",
              cell: ([node]) => outside(cells.nodes[node] === "(exit)" ? "(exit): the visit ended" : cells.nodes[node]),
            },
            { label: "Attempts", number: true, cell: ([, n]) => barCell(n, Math.max(...rows.map((row) => row[1]))) },
            { label: "Of those who dropped here", number: true, text: ([, n]) => share(n / lost[step]) },
          ],
          rows,
          { className: "dense" },
        )
      : empty("Nobody dropped here."),
  );
  return [...parts, el("div", { class: "pair" }, times, after)];
}

const barCell = (n, most) =>
  el("span", { class: "bar-cell", "--share": `${(n / (most || 1)) * 100}%` }, el("span", {}, count(n)));

// an interval as words and as a line on the scale from 0 to 1
const boundsBar = (low, high) =>
  known(low)
    ? el(
        "span",
        { class: "bounds" },
        el("span", { class: "bounds-line", "--from": `${low * 100}%`, "--to": `${high * 100}%` }),
        bounds(low, high),
      )
    : without("none");

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

// by entry period [start, entered, completed, share, low, high], of the chosen source, channel and device
function trendRows(funnel, state) {
  if (!funnel.cells || (!isCut(state) && state.source === ALL)) return funnel.trend;
  const every = funnel.trend.map(() => true);
  const sums = funnel.trend.map(() => funnel.steps.map(() => 0));
  eachCell(funnel.cells.rows, state, every, (row, at, period) =>
    funnel.steps.forEach((_, depth) => (sums[period][depth] += row[5 + depth][at])),
  );
  return funnel.trend.map(([start], at) => {
    const { reached_n, overall_pct, overall_lo, overall_hi } = sharesOf(sums[at]);
    return [start, reached_n[0], reached_n.at(-1), overall_pct.at(-1), overall_lo.at(-1), overall_hi.at(-1)];
  });
}

// days that are too many for one point each become weeks: those who entered on them, and their share
function inWeeks(rows, points) {
  const sums = points.starts.map(() => [0, 0]);
  for (const [start, entered, completed] of rows) {
    const sum = sums[points.placeOf(daysOf({ since: rows[0][0], until: start }) - 1)];
    if (!sum) continue;
    sum[0] += entered;
    sum[1] += completed;
  }
  return sums.map(([n, hits], at) => [points.starts[at], n, hits, n ? hits / n : null, ...wilson(hits, n)]);
}

function funnelTrend(funnel, found, size, state) {
  const kept = trendRows(funnel, state).filter(([start]) => start >= found.since && start <= found.until);
  const points = size === "day" && kept.length ? pointsOf({ since: kept[0][0], until: kept.at(-1)[0] }) : null;
  const isFolded = points?.name === "week";
  const rows = isFolded ? inWeeks(kept, points) : kept;
  const named = isFolded ? (start) => span(start, addDays(start, 6)) : size === "month" ? month : day;
  const title = `Share that completes it, by ${isFolded ? "week" : size} of entry`;
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
    note("The band is the 95 % Wilson interval.", points?.says ?? ""),
    twin(
      `${funnel.name}: ${title}, newest first`,
      [
        { label: "Entered in", text: (row) => named(row[0]) },
        { label: "Entered", number: true, text: (row) => count(row[1]) },
        { label: "Completed", number: true, text: (row) => count(row[2]) },
        { label: "Share", number: true, cell: (row) => (row[1] ? share(row[3]) : without("nobody")) },
        { label: "Low", number: true, text: (row) => share(row[4]) },
        { label: "High", number: true, text: (row) => share(row[5]) },
      ],
      [...rows].reverse(),
    ),
  );
}
