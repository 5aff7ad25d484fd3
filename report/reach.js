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
  const card = el("div", { class: "card" }, el("div", { class: "card-head" }, el("h3", {}, "How far, how long")));
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
