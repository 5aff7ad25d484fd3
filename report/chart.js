// Charts: ECharts with this page's colours, drawn again when the theme, the width or the paper changes.
const charts = new Set();
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

function palette() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  return {
    ink: get("--ink"),
    soft: get("--soft"),
    faint: get("--faint"),
    line: get("--line"),
    card: get("--card"),
    accent: get("--accent"),
    exit: get("--exit"),
    series: Array.from({ length: 8 }, (_, n) => get(`--series-${n + 1}`)),
    heat: Array.from({ length: 5 }, (_, n) => get(`--heat-${n + 1}`)),
  };
}

// `option(colours, width)` gives ECharts its option; the label says what the picture shows, the table twin says it all
function chart(label, height, option, { wide = 0 } = {}) {
  const box = el("div", {
    class: "chart",
    role: "img",
    "aria-label": `${label}. A table follows.`,
    "--height": `${height}px`,
    "--wide": wide ? `${wide}px` : null,
  });
  const entry = { box, option, instance: null, isDrawn: false };
  charts.add(entry);
  return wide ? el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, box) : box;
}

function draw(entry) {
  if (!entry.box.isConnected) return forget(entry);
  entry.isDrawn = true;
  if (entry.paint) return entry.paint(palette());
  entry.instance ??= echarts.init(entry.box, null, { renderer: "svg" });
  entry.instance.setOption(
    { animation: false, ...entry.option(palette(), entry.box.clientWidth) },
    { notMerge: true },
  );
}

function forget(entry) {
  entry.instance?.dispose();
  charts.delete(entry);
}

// Draws what is new: at once where it is on screen, the rest one by one after it, so that a choice is answered soon.
// `whenDone` is called after the last.
let round = 0;
function drawNew(whenDone) {
  round += 1;
  const mine = round;
  const left = [];
  for (const entry of [...charts]) {
    if (!entry.box.isConnected) forget(entry);
    else if (!entry.isDrawn) left.push(entry);
  }
  const isOnScreen = ({ box }) => {
    const { top, bottom } = box.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  };
  const away = left.filter((entry) => !isOnScreen(entry));
  for (const entry of left) if (!away.includes(entry)) draw(entry);
  const next = () => {
    if (mine !== round) return;
    const entry = away.shift();
    if (!entry) return whenDone?.();
    draw(entry);
    setTimeout(next);
  };
  setTimeout(next);
}

const drawAll = () => [...charts].forEach(draw);

function fitAll() {
  for (const entry of [...charts]) {
    if (!entry.box.isConnected || !entry.instance) continue;
    entry.instance.resize();
    draw(entry);
  }
}

// on paper a picture scales with its box instead of being drawn anew: the page's width is not known before
function forPaper(isPaper) {
  for (const { box, instance } of charts) {
    const picture = instance && box.querySelector("svg");
    if (!picture) continue;
    if (isPaper) picture.setAttribute("viewBox", `0 0 ${box.clientWidth} ${box.clientHeight}`);
    else picture.removeAttribute("viewBox");
  }
}

// ECharts takes an element as it is, and a string as markup: so always an element
const tip = (colours, format, trigger = "axis") => ({
  trigger,
  confine: true,
  transitionDuration: 0,
  backgroundColor: colours.card,
  borderColor: colours.line,
  borderWidth: 1,
  padding: [8, 12],
  textStyle: { color: colours.ink, fontSize: 12, fontFamily: "inherit" },
  extraCssText: "box-shadow:0 4px 16px rgb(0 0 0 / .14);border-radius:8px;max-width:320px",
  axisPointer: { type: "line", lineStyle: { color: colours.faint, width: 1 } },
  formatter: format,
});
const tipBox = (title, rows) =>
  el(
    "div",
    { class: "tip" },
    el("strong", {}, title),
    rows.map(([name, value, colour]) =>
      el("div", {}, colour ? el("i", { "--colour": colour }) : null, el("bdi", {}, name), el("b", {}, value)),
    ),
  );

const axisText = (colours) => ({ color: colours.soft, fontSize: 11, fontFamily: "inherit" });
const categories = (colours, values, format) => ({
  type: "category",
  data: values,
  boundaryGap: false,
  axisLine: { lineStyle: { color: colours.line } },
  axisTick: { show: false },
  axisLabel: { ...axisText(colours), formatter: format, hideOverlap: true, margin: 10 },
});
const values = (colours, format, more = {}) => ({
  type: "value",
  splitNumber: 4,
  axisLabel: { ...axisText(colours), formatter: format },
  splitLine: { lineStyle: { color: colours.line } },
  ...more,
});
const plot = (more = {}) => ({
  left: 4,
  right: 14,
  top: 14,
  bottom: 2,
  outerBoundsMode: "same",
  outerBoundsContain: "axisLabel",
  ...more,
});
