// Where visitors get stuck: pages by what went wrong on them, in an order the reader chooses.
const SIGNALS = [
  ["Rage clicks", "bursts of quick clicks on one place"],
  ["Dead clicks", "clicks after which nothing changed"],
  ["Quick back", "views left within seconds, back to the page before"],
  ["Excessive scroll", "views scrolled up and down over and over"],
  ["Errors", "errors of scripts, each once a view"],
];
const untracked = () => el("span", { class: "untracked" }, "not tracked");
// [n, views] as a rate; null is what nobody reported
const per100 = (signal) => (signal && signal[1] ? (signal[0] / signal[1]) * 100 : null);
let frictionOrder = { by: 0, down: true };

function frictionCard(state, range, redraw) {
  const card = el("div", { class: "card" }, cardHead("Friction by page"));
  if (data.pages.missing.friction) {
    card.append(empty(data.pages.missing.friction));
    return card;
  }
  const all = (data.pages.friction[range.key] ?? []).filter(
    ([source]) => state.source === "(all)" || source === state.source,
  );
  if (!all.length) {
    card.append(empty(`No page was viewed in ${span(range.since, range.until)}: choose a longer range.`));
    return card;
  }
  // rows come most views first
  const rows = all.slice(0, 30);
  const totals = new Map(all.map(([source, , , pages, views]) => [source, [pages, views]]));
  const [pageN, viewN] = [0, 1].map((at) => [...totals.values()].reduce((sum, one) => sum + one[at], 0));
  const shown = rows.reduce((sum, row) => sum + row[2], 0);
  const several = totals.size > 1;
  const valueOf = (row) => (frictionOrder.by === 0 ? row[2] : per100(row[4 + frictionOrder.by]));
  const sorted = [...rows].sort((a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    // what is not known stays last, whichever way
    if (x === null || y === null) return (x === null) - (y === null) || b[2] - a[2];
    return (frictionOrder.down ? y - x : x - y) || b[2] - a[2];
  });
  const sorter = (at, name, title) => {
    const isChosen = frictionOrder.by === at;
    return el(
      "button",
      {
        type: "button",
        class: "sorter",
        title,
        "data-sort": at,
        onclick: () => {
          frictionOrder = { by: at, down: isChosen ? !frictionOrder.down : true };
          redraw(`[data-sort="${at}"]`);
        },
      },
      name,
      el("i", { "aria-hidden": "true" }, isChosen ? (frictionOrder.down ? "▼" : "▲") : "↕"),
    );
  };
  const order = (at) =>
    frictionOrder.by === at ? { sort: frictionOrder.down ? "descending" : "ascending" } : {};
  card.append(
    note(
      "Per 100 views on which the signal was tracked, with its count beside it. ",
      el("b", {}, "Not tracked"),
      " means that no tracker reported the signal, which is not 0.",
      pageN > rows.length
        ? ` The ${count(rows.length)} pages with most views of ${count(pageN)}; the others have ${share(1 - shown / viewN)} of the views.`
        : "",
    ),
    table(
      `Friction by page, ${span(range.since, range.until)}`,
      [
        {
          label: "Page",
          cell: (row) =>
            el(
              "span",
              { class: "named" },
              outside(row[1]),
              several ? el("span", { class: "aside" }, outside(row[0])) : null,
            ),
        },
        {
          label: "Views",
          head: sorter(0, "Views", "page views"),
          ...order(0),
          number: true,
          cell: (row) =>
            el(
              "span",
              {},
              row[2] < FEW ? el("span", { class: "untracked", title: "too few views to trust a rate" }, "few  ") : null,
              count(row[2]),
            ),
        },
        ...SIGNALS.map(([name, title], at) => ({
          label: name,
          head: sorter(at + 1, name, title),
          ...order(at + 1),
          number: true,
          cell: (row) => {
            const signal = row[5 + at];
            if (!signal) return untracked();
            const part = signal[1] < row[2] ? `, tracked on ${plural(signal[1], "view")} of ${count(row[2])}` : "";
            return el(
              "span",
              { class: signal[0] ? "" : "zero", title: `${measure(signal[0])}${part}` },
              known(per100(signal)) ? tenth.format(per100(signal)) : NONE,
              el("span", { class: "aside" }, measure(signal[0])),
            );
          },
        })),
      ],
      sorted,
      { className: "dense friction" },
    ),
  );
  return card;
}

// the last two steps of a selector, which are next to the element
const ending = (selector) => {
  const steps = selector.split(/\s*>\s*/);
  return steps.length > 2 ? `… > ${steps.slice(-2).join(" > ")}` : selector;
};

function elementsCard(page, state, range) {
  const found = page.elements?.[range.key];
  const card = el("div", { class: "card" }, cardHead("Elements most used"));
  if (!found) {
    card.append(
      empty(
        data.pages.missing.elements ??
          `No element of this page was clicked in ${span(range.since, range.until)}: choose a longer range.`,
      ),
    );
    return card;
  }
  const rest = found.element_n - found.rows.length;
  const number = (at) => (row) => (known(row[at]) ? measure(row[at]) : untracked());
  card.append(
    note(
      `All windows together, ${plural(found.click_n, "click")} on ${plural(found.element_n, "element")}`,
      rest > 0 ? `; ${count(rest)} less used ${rest === 1 ? "one is" : "ones are"} left out.` : ".",
      found.click_n < FEW ? ` Only ${plural(found.click_n, "click")}: too few to rank by.` : "",
    ),
    table(
      `Elements of ${page.path} most used, ${span(range.since, range.until)}`,
      [
        {
          label: "Element",
          cell: ([at, , , , text]) =>
            el(
              "span",
              { class: "selector" },
              text ? outside(text) : null,
              el("code", {}, page.selectors[at] === "(none)" ? "element not reported" : outside(ending(page.selectors[at]), { title: page.selectors[at] })),
            ),
        },
        { label: "Clicks", number: true, cell: number(1) },
        {
          label: "Share",
          number: true,
          text: (row) => share(found.click_n && known(row[1]) ? row[1] / found.click_n : null),
        },
        { label: "Rage", number: true, cell: number(2) },
        { label: "Dead", number: true, cell: number(3) },
        { label: "Where in it", cell: (row) => elementMap(page, row) },
      ],
      found.rows,
      { className: "dense" },
    ),
    data.pages.missing.element_cells
      ? note(data.pages.missing.element_cells)
      : note(
          "Where in it: the element's box in tenths, the stronger the colour the more of its clicks. Clicks from the keyboard and on elements without a size lie in no tenth.",
        ),
    twin(
      `Where in the elements of ${page.path} people click`,
      [
        { label: "Element", cell: ([row]) => outside(elementName(page, row)) },
        { label: "Place", text: ([, cell]) => tenthsOf(cell) },
        { label: "Clicks", number: true, text: ([, , n]) => measure(n) },
        { label: "Share", number: true, text: ([row, , n]) => share(n / insideOf(row)) },
      ],
      found.rows.flatMap((row) => fullest(row).slice(0, 3).map(([cell, n]) => [row, cell, n])),
    ),
  );
  return card;
}

const elementName = (page, row) => row[4] || ending(page.selectors[row[0]]);
// [tenth of the box, clicks], most first
const fullest = (row) =>
  row[5]
    .flatMap((cell, at) => (at % 2 ? [] : [[cell, row[5][at + 1]]]))
    .sort((a, b) => b[1] - a[1] || a[0] - b[0]);
const insideOf = (row) => fullest(row).reduce((sum, [, n]) => sum + n, 0);
const tenthsOf = (cell) =>
  `${(cell % 10) * 10}–${(cell % 10) * 10 + 10} % across, ${Math.floor(cell / 10) * 10}–${Math.floor(cell / 10) * 10 + 10} % down`;

// an element's box in tenths each way, drawn as one picture whatever its shape
function elementMap(page, row) {
  const cells = fullest(row);
  if (!cells.length)
    return el("span", { class: "untracked", title: "no click here has a place inside the element" }, "no place");
  const [cell, most] = cells[0];
  const label = `${elementName(page, row)}: most of ${measure(insideOf(row))} placed clicks at ${tenthsOf(cell)}, ${measure(most)}`;
  const canvas = painted(el("canvas", { class: "inside", role: "img", "aria-label": label, title: label }), (colours) => {
    canvas.width = canvas.height = 10;
    const stops = heatStops(colours);
    const context = canvas.getContext("2d");
    for (const [at, n] of cells) {
      context.fillStyle = `rgb(${heatColour(stops, heatShade(n, most))})`;
      context.fillRect(at % 10, Math.floor(at / 10), 1, 1);
    }
  });
  return canvas;
}
