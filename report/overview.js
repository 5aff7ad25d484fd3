// The overview: ten figures, each against the period before, and one of them over time.
const sums = (of) => (series, at) => series[of][at];
const METRICS = [
  {
    key: "visitors",
    label: "Visitors a day",
    title: "Visitors",
    top: sums("visitor_n"),
    mean: true,
    format: compact,
    says: "Distinct people with a page view, counted within each day and averaged: people who come back make days impossible to add up.",
  },
  {
    key: "new",
    label: "New visitors",
    top: sums("new_visitor_n"),
    format: compact,
    says: "People whose first page view ever falls in the period.",
  },
  {
    key: "sessions",
    label: "Sessions",
    top: sums("session_n"),
    format: compact,
    says: "Visits that began in the period; 30 minutes of silence end one, unless set otherwise.",
  },
  {
    key: "views",
    label: "Page views",
    top: sums("page_view_n"),
    format: compact,
    says: "Page and screen events.",
  },
  {
    key: "time",
    label: "Mean session",
    top: sums("session_s"),
    under: sums("closed_session_n"),
    format: duration,
    says: "From the first to the last event of a session, over sessions that are over; one event lasts 0 s.",
  },
  {
    key: "engagement",
    label: "Engagement",
    top: sums("engaged_session_n"),
    under: sums("closed_session_n"),
    format: share,
    points: true,
    says: "Sessions with 10 s of attention, a key event or two page views, of all that are over.",
  },
  {
    key: "bounce",
    label: "Bounce",
    top: sums("bounce_n"),
    under: sums("page_session_n"),
    format: share,
    points: true,
    lowerIsBetter: true,
    says: "Sessions with exactly one page view and no interaction, of all that are over and have a page view.",
  },
  {
    key: "conversion",
    label: "Conversion",
    top: sums("converted_session_n"),
    under: sums("closed_session_n"),
    format: share,
    points: true,
    says: "Sessions with a key event, of all that are over.",
  },
  {
    key: "orders",
    label: "Orders",
    top: sums("order_n"),
    format: compact,
    says: "Distinct orders on their own date.",
  },
  {
    key: "revenue",
    label: "Revenue",
    top: sums("revenue_amt"),
    format: moneyShort,
    exact: money,
    says: "Orders less refunds, each on its own date.",
  },
];
const GRAINS = [
  ["day", "Day"],
  ["week", "Week"],
  ["month", "Month"],
];

function lastDay(start, grain) {
  if (grain !== "month") return addDays(start, grain === "week" ? 6 : 0);
  const [year, month] = start.split("-").map(Number);
  return new Date(Date.UTC(year, month, 0)).toISOString().slice(0, 10);
}

function valueAt(metric, series, at) {
  const top = metric.top(series, at);
  if (!metric.under) return top;
  const under = metric.under(series, at);
  return series.is_complete[at] && under ? top / under : null;
}

function total(metric, series, since, until) {
  let top = 0;
  let under = 0;
  let n = 0;
  for (let at = 0; at < series.starts.length; at += 1) {
    if (series.starts[at] < since || series.starts[at] > until) continue;
    if (metric.mean && !known(metric.top(series, at))) continue;
    top += metric.top(series, at) ?? 0;
    under += metric.under ? (metric.under(series, at) ?? 0) : 0;
    n += 1;
  }
  if (metric.mean) return n ? top / n : null;
  if (!metric.under) return top;
  return under && data.period.complete ? top / under : null;
}

function sparkline(points) {
  const found = points.map((value, at) => [at, value]).filter(([, value]) => known(value));
  const box = svg("svg", {
    viewBox: "0 0 100 28",
    preserveAspectRatio: "none",
    class: "spark",
    "aria-hidden": "true",
  });
  if (found.length < 2) return box;
  // rates hardly move against zero: a spark shows the course, the chart below it the size
  const low = 0.7 * Math.min(...found.map(([, value]) => value));
  const high = Math.max(...found.map(([, value]) => value));
  const x = (at) => (at / (points.length - 1)) * 100;
  const y = (value) => 26 - ((value - low) / (high - low || 1)) * 24;
  const line = found.map(([at, value]) => `${x(at).toFixed(2)},${y(value).toFixed(2)}`).join(" ");
  box.append(
    svg("polygon", { points: `${x(found[0][0])},28 ${line} ${x(found.at(-1)[0])},28` }),
    svg("polyline", { points: line }),
  );
  return box;
}

const usualGrain = (range) => (daysOf(range) > MOST_POINTS ? "week" : "day");

function overview(section, state, again) {
  section.replaceChildren(heading("overview", "Overview"));
  if (data.overview.empty) return section.append(empty(data.overview.empty));
  if (isCut(state) && !data.cube?.visitors)
    section.append(
      note(
        "Visitors of one channel or device are not known: the published file has no core.visitor_days yet. Build and publish with this version.",
      ),
    );
  const range = rangeOf(state);
  const series = seriesOf(state, "day");
  const grain = usualGrain(range);
  const sparks = grain === "day" ? series : seriesOf(state, grain);
  section.firstChild.append(
    note(
      data.period.complete
        ? `${plural(daysOf(range), "complete day")}, ${span(range.since, range.until)}`
        : `${day(data.period.last)} so far: no day is complete yet, so rates are not known`,
      range.before_since
        ? `, change against ${span(range.before_since, range.before_until)}`
        : data.period.complete && range.key !== "all"
          ? ", no change shown: the days before are not all on record"
          : "",
      data.period.complete && data.period.last > data.period.complete
        ? `. The ${state.grain ?? grain} that still runs is in the chart only, dotted.`
        : data.period.is_past
          ? `. The report ends on ${day(data.period.last)}, the last date with traffic; what came since is silence.`
          : ".",
    ),
  );
  const tiles = METRICS.map((metric) => {
    const now = total(metric, series, range.since, range.until);
    const before = range.before_since ? total(metric, series, range.before_since, range.before_until) : null;
    // of weeks only whole ones: a part of one looks like a dip
    const points = sparks.starts.flatMap((start, at) =>
      start >= range.since && lastDay(start, grain) <= range.until ? [valueAt(metric, sparks, at)] : [],
    );
    return el(
      "button",
      {
        type: "button",
        class: "tile",
        "aria-pressed": String(state.metric === metric.key),
        title: metric.says,
        "data-metric": metric.key,
        onclick: () => again({ metric: metric.key }, `[data-metric="${metric.key}"]`),
      },
      el("span", { class: "label" }, metric.label),
      el("span", { class: "figure" }, metric.format(now)),
      range.before_since ? delta(change(now, before, metric)) : null,
      sparkline(points),
    );
  });
  section.append(el("div", { class: "tiles" }, tiles), overTime(state, range, again));
}

function overTime(state, range, again) {
  const metric = METRICS.find((one) => one.key === state.metric);
  const grain = state.grain ?? usualGrain(range);
  const isFolded = state.grain === null && grain === "week";
  const series = seriesOf(state, grain);
  const exact = metric.exact ?? (metric.format === compact ? count : metric.format);
  const from = series.starts.findIndex((start) =>
    isFolded ? start >= range.since : lastDay(start, grain) >= range.since,
  );
  // a range that ends with the dates on record shows the day that still runs too
  const isNewest = range.until === lastDate;
  const at =
    from < 0
      ? []
      : series.starts
          .map((_, index) => index)
          .slice(from)
          .filter((index) => isNewest || (isFolded ? lastDay(series.starts[index], grain) : series.starts[index]) <= range.until);
  const starts = at.map((index) => series.starts[index]);
  const now = at.map((index) => valueAt(metric, series, index));
  const isDay = grain === "day";
  const days = isDay && range.before_since ? (asDate(range.until) - asDate(range.since)) / 86400000 + 1 : 0;
  const before = days
    ? at.map((index) =>
        series.is_complete[index] && index >= days ? valueAt(metric, series, index - days) : null,
      )
    : null;
  const over = now.map((value, index) => (series.is_complete[at[index]] ? value : null));
  const lastOver = over.findLastIndex(known);
  const running = now.map((value, index) =>
    !series.is_complete[at[index]] || index === lastOver ? value : null,
  );
  const isRunning = at.some((index) => !series.is_complete[index]) && !metric.under;
  const named = grain === "month" ? month : isDay ? weekday : (start) => `Week of ${day(start)}`;
  const title = `${metric.title ?? metric.label} by ${grain}`;
  const picture = chart(
    `${title}, ${starts.length ? span(starts[0], starts.at(-1)) : "no data"}`,
    280,
    (colours) => ({
      grid: plot(),
      xAxis: categories(colours, starts, grain === "month" ? month : dayShort),
      yAxis: values(
        colours,
        (value) =>
          metric.points
            ? shareShort(value)
            : metric.exact
              ? tickMoney.format(value)
              : metric.format === compact
                ? tick.format(value)
                : metric.format(value),
        metric.points ? {} : { minInterval: metric.format === compact ? 1 : 0 },
      ),
      tooltip: tip(colours, ([{ dataIndex }]) =>
        tipBox(named(starts[dataIndex]) + (series.is_complete[at[dataIndex]] ? "" : ", so far"), [
          [metric.title ?? metric.label, exact(now[dataIndex]), colours.accent],
          ...(before && known(before[dataIndex])
            ? [[weekday(addDays(starts[dataIndex], -days)), exact(before[dataIndex]), colours.faint]]
            : []),
        ]),
      ),
      series: [
        ...(before
          ? [
              {
                type: "line",
                data: before,
                symbol: "none",
                lineStyle: { color: colours.faint, width: 1.5, type: [4, 4] },
                silent: true,
              },
            ]
          : []),
        {
          type: "line",
          data: over,
          symbol: "circle",
          showSymbol: over.filter(known).length < 2,
          symbolSize: 7,
          itemStyle: { color: colours.accent },
          lineStyle: { color: colours.accent, width: 2 },
          areaStyle: { color: colours.accent, opacity: 0.09 },
        },
        ...(isRunning
          ? [
              {
                type: "line",
                data: running,
                symbol: "circle",
                showSymbol: lastOver < 0,
                symbolSize: 6,
                itemStyle: { color: colours.accent },
                lineStyle: { color: colours.accent, width: 2, type: [2, 4] },
              },
            ]
          : []),
      ],
    }),
  );
  const rows = at.map((index, position) => ({ index, position })).reverse();
  return el(
    "div",
    { class: "card" },
    cardHead(
      title,
      before
        ? el(
            "span",
            { class: "key" },
            el("i", { class: "solid" }),
            "this period",
            el("i", { class: "dashed" }),
            "the one before",
          )
        : null,
      segments("Grain of the chart", GRAINS, grain, (chosen) =>
        again({ grain: chosen }, `#overview .card .segments button[aria-pressed="true"]`),
      ),
    ),
    note(
      metric.says,
      metric.key === "visitors" && !isDay ? ` Here distinct within each ${grain}.` : "",
      isFolded ? " By whole week, as a point a day over so long would be a blur; Day draws them all the same." : "",
    ),
    starts.length ? picture : empty("Nothing is on record for this range: choose a longer one."),
    twin(
      `${title}, newest first`,
      [
        {
          label: grain === "day" ? "Date" : `${grain === "week" ? "Week" : "Month"} from`,
          text: ({ index }) => (isDay ? weekday : day)(series.starts[index]),
        },
        ...METRICS.map((one) => ({
          label: one.title ?? one.label,
          number: true,
          text: ({ index }) =>
            (one.exact ?? (one.format === compact ? count : one.format))(valueAt(one, series, index)),
        })),
        { label: "Complete", text: ({ index }) => (series.is_complete[index] ? "yes" : "not yet") },
      ],
      rows,
    ),
  );
}
