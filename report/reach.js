// How far down the views get, and where their time goes, by twentieth of the page.
const DEPTHS = 20;
const depthName = (at) => `${at * 5}–${at * 5 + 5} %`;

const sumOf = (list) => (list ?? []).reduce((sum, n) => sum + n, 0);

const reachColumns = (reach) => {
  const spent = sumOf(reach.attention);
  return [
    { label: "Depth of the page", text: depthName },
    {
      label: "Views that get there",
      number: true,
      text: (at) => (reach.reached ? measure(reach.reached[at]) : "not tracked"),
    },
    {
      label: "Share",
      number: true,
      text: (at) => (reach.reached && reach.view_n ? share(reach.reached[at] / reach.view_n) : NONE),
    },
    {
      label: "Attention",
      number: true,
      text: (at) => (reach.attention ? duration(reach.attention[at] / 1000) : "not tracked"),
    },
    {
      label: "Share of attention",
      number: true,
      text: (at) => (spent ? share(reach.attention[at] / spent) : NONE),
    },
    {
      label: "In view",
      number: true,
      text: (at) => (reach.visible ? duration(reach.visible[at] / 1000) : "not tracked"),
    },
  ];
};

// the band in which the middle view stops: [from, to] in percent
function middleDepth(reach) {
  if (!reach.reached || !reach.view_n) return null;
  const past = reach.reached.findLastIndex((n) => n / reach.view_n >= 0.5);
  return past < 0 ? null : [past * 5, past * 5 + 5];
}

function reachCard(name, reach, range) {
  const card = el("div", { class: "card" }, cardHead("How far, how long"));
  if (!reach || (!reach.reached && !reach.attention)) {
    card.append(
      empty(
        `No scrolling of ${name} was reported in ${span(range.since, range.until)}: it is not known, which is not the same as none.`,
      ),
    );
    return card;
  }
  const middle = middleDepth(reach);
  const spent = sumOf(reach.attention);
  card.append(
    note(
      `${plural(reach.view_n, "view")} of known depth. `,
      reach.reached
        ? middle
          ? el("b", {}, middle[1] === 100 ? "Half of them get past 95 %" : `Half of them get past ${middle[0]} %, not past ${middle[1]} %`)
          : "Depth is not known"
        : "Scroll depth is not tracked",
      reach.attention
        ? `; ${duration(spent / 1000)} of attention${reach.view_n ? `, ${tenth.format(spent / 1000 / reach.view_n)} s a view` : ""}.`
        : "; attention is not tracked.",
      reach.reached && reach.view_n < FEW ? ` Only ${plural(reach.view_n, "view")}: too few to trust a share.` : "",
    ),
    el(
      "div",
      { class: "legend" },
      reach.reached ? el("span", {}, mark("var(--accent)"), "views that get there") : null,
      reach.attention ? el("span", {}, mark("var(--series-2)"), "share of attention") : null,
    ),
    chart(`Scroll reach and attention of ${name}`, 360, (colours) => reachOption(colours, reach, middle, spent)),
    twin(`Scroll reach and attention of ${name}`, reachColumns(reach), [...Array(DEPTHS).keys()]),
  );
  return card;
}

function reachOption(colours, reach, middle, spent) {
  const shares = reach.reached ? reach.reached.map((n) => n / reach.view_n) : [];
  const parts = reach.attention && spent ? reach.attention.map((ms) => ms / spent) : [];
  const bands = [...Array(DEPTHS).keys()];
  const across = (grid, more = {}) => ({
    ...values(colours, shareShort),
    gridIndex: grid,
    position: "top",
    min: 0,
    splitNumber: 2,
    axisLabel: { ...axisText(colours), formatter: shareShort, showMinLabel: false },
    ...more,
  });
  return {
    grid: [
      { left: 44, right: "40%", top: 26, bottom: 6 },
      { left: "64%", right: 14, top: 26, bottom: 6 },
    ],
    xAxis: [across(0, { max: 1 }), across(1)],
    yAxis: [
      {
        ...categories(colours, [...bands, DEPTHS].map(String), (at) => `${at * 5} %`),
        gridIndex: 0,
        inverse: true,
        axisLabel: { ...axisText(colours), interval: 4, formatter: (at) => `${at * 5} %` },
      },
      {
        ...categories(colours, bands.map(String), () => ""),
        gridIndex: 1,
        inverse: true,
        boundaryGap: true,
        axisLabel: { show: false },
      },
    ],
    tooltip: tip(colours, (points) => {
      const at = Math.min(DEPTHS - 1, points[0].dataIndex);
      return tipBox(`Depth ${depthName(at)}`, [
        ...(shares.length ? [["views that get there", share(shares[at]), colours.accent]] : []),
        ...(parts.length ? [["of all attention", share(parts[at]), colours.series[1]]] : []),
        ...(reach.attention && reach.view_n
          ? [["attention a view", `${tenth.format(reach.attention[at] / 1000 / reach.view_n)} s`]]
          : []),
      ]);
    }),
    series: [
      {
        id: "reach",
        type: "line",
        data: shares,
        symbol: "none",
        lineStyle: { color: colours.accent, width: 2 },
        areaStyle: { color: colours.accent, opacity: 0.09 },
      },
      {
        id: "middle",
        type: "line",
        silent: true,
        symbol: "none",
        data: middle ? [0, 1].map((x) => [x, middle[0] / 5]) : [],
        lineStyle: { color: colours.soft, width: 1, type: [4, 4] },
      },
      {
        id: "time",
        type: "bar",
        xAxisIndex: 1,
        yAxisIndex: 1,
        data: parts,
        barCategoryGap: "22%",
        itemStyle: { color: colours.series[1], borderRadius: [0, 2, 2, 0] },
        emphasis: { disabled: true },
      },
    ],
  };
}

// Percentiles of several days do not add up to one: those of a week are the mean of its days', by their views.
function depthsCard(name, depths, range) {
  const points = pointsOf(range);
  const sums = new Map();
  for (const [n, views, ...shares] of depths) {
    const at = points.placeOf(daysOf({ since: range.since, until: addDays(data.period.first, n) }) - 1);
    if (at < 0 || at >= points.starts.length) continue;
    const sum = sums.get(at) ?? [0, ...shares.map(() => 0)];
    sum[0] += views;
    shares.forEach((share, of) => (sum[of + 1] += share * views));
    sums.set(at, sum);
  }
  const dated = [...sums]
    .sort((a, b) => a[0] - b[0])
    .map(([at, [n, ...shares]]) => [points.starts[at], n, ...shares.map((sum) => Math.round(sum / n))]);
  const card = el("div", { class: "card" }, cardHead(`Depth by ${points.name}`));
  if (!dated.length) {
    card.append(
      empty(
        data.pages.missing.depths ??
          `No view of ${name} in ${span(range.since, range.until)} has a known depth: not known, which is not 0.`,
      ),
    );
    return card;
  }
  const few = dated.filter(([, n]) => n < FEW).length;
  card.append(
    note(
      "How much of the page was seen: by half of the views at least the median, by a quarter at most the lower and at least the upper edge of the band.",
      few
        ? ` ${capital(points.name)}s with less than ${FEW} views of known depth, too few to trust a jump: ${count(few)} of ${count(dated.length)}.`
        : "",
      points.says ? `${points.says} A week's edges are the mean of its days', by their views.` : "",
    ),
    el(
      "div",
      { class: "legend" },
      el("span", {}, mark("var(--accent)"), "median"),
      el("span", {}, mark("color-mix(in srgb, var(--accent) 22%, transparent)"), "middle half of the views"),
    ),
    chart(`Depth of ${name} by ${points.name}`, 190, (colours) => depthsOption(colours, dated, points)),
    twin(
      `Depth of ${name} by ${points.name}`,
      [
        { label: points.label, text: ([date]) => day(date) },
        { label: "Views of known depth", number: true, text: (row) => count(row[1]) },
        ...["A quarter stops by", "Median", "A quarter gets beyond", "A tenth gets beyond"].map((label, at) => ({
          label,
          number: true,
          text: (row) => `${row[2 + at]} %`,
        })),
      ],
      [...dated].reverse(),
    ),
  );
  return card;
}

function depthsOption(colours, dated, points) {
  const byDate = new Map(dated.map((row) => [row[0], row]));
  const at = (n) => points.starts.map((date) => byDate.get(date)?.[n] ?? null);
  const [low, middle, high] = [2, 3, 4].map(at);
  const line = { type: "line", symbol: "none", connectNulls: false, silent: true };
  return {
    grid: plot(),
    xAxis: categories(colours, points.starts, dayShort),
    yAxis: values(colours, (n) => `${n} %`, { min: 0, max: 100, interval: 25 }),
    tooltip: tip(colours, ([{ dataIndex }]) => {
      const row = byDate.get(points.starts[dataIndex]);
      return tipBox(
        points.title(dataIndex),
        row
          ? [
              ["median", `${row[3]} %`, colours.accent],
              ["middle half", `${row[2]} – ${row[4]} %`],
              ["a tenth gets beyond", `${row[5]} %`],
              ["views of known depth", count(row[1])],
            ]
          : [["no view of known depth", NONE]],
      );
    }),
    series: [
      { ...line, id: "low", stack: "half", lineStyle: { opacity: 0 }, data: low },
      {
        ...line,
        id: "half",
        stack: "half",
        lineStyle: { opacity: 0 },
        areaStyle: { color: colours.accent, opacity: 0.2 },
        data: high.map((n, i) => (n === null ? null : n - low[i])),
      },
      {
        ...line,
        id: "median",
        symbol: dated.length < 3 ? "circle" : "none",
        lineStyle: { color: colours.accent, width: 2 },
        itemStyle: { color: colours.accent },
        data: middle,
      },
    ],
  };
}
