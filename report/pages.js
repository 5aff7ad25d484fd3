// What people do on the pages: pick a page, a window and a layer; heat over its outline, reach, elements, friction.
let chosenPlace = { page: null, band: null, layer: "click", whole: false };

function pages(section, state) {
  section.replaceChildren(heading("pages", "Pages"));
  if (data.pages.empty) return section.append(empty(data.pages.empty));
  const range = prepared(state);
  const byWindow = "heat is kept by page and width of window; choose Mobile, Tablet or Desktop below";
  const left = unfiltered(state, { channel: "heat is not kept by channel", device: byWindow, range: PREPARED });
  if (left) section.firstChild.append(left);
  const redraw = (focus) => {
    pages(section, state);
    drawNew();
    section.querySelector(focus)?.focus({ preventScroll: true });
  };
  const choose = (part, focus) => {
    chosenPlace = { ...chosenPlace, ...part };
    redraw(focus);
  };
  const shown = data.pages.pages.filter(({ source }) => state.source === "(all)" || source === state.source);
  section.firstChild.append(
    note(
      span(range.since, range.until),
      data.pages.page_n > data.pages.pages.length
        ? `. Heat of the ${count(data.pages.pages.length)} pages with most views; the other ${count(data.pages.page_n - data.pages.pages.length)} have theirs in the published tables only.`
        : ".",
    ),
  );
  if (!shown.length)
    section.append(
      empty(
        data.pages.pages.length
          ? "No page of this source has clicks or scrolling on record: choose another source."
          : "No clicks and no scrolling are on record: put footfall.js on the pages, and they appear here.",
      ),
    );
  else {
    const page = shown.find((one) => one === chosenPlace.page) ?? shown[0];
    section.append(...placeCards(page, shown, state, range, choose));
  }
  section.append(frictionCard(state, range, redraw));
}

// how much a window's page has to show in a range
const bandWeight = (entry, key) => (entry.heat.click?.[key]?.n ?? 0) + (entry.reach[key]?.view_n ?? 0);

function placeCards(page, shown, state, range, choose) {
  const fullest = Object.keys(BANDS).reduce((a, b) =>
    bandWeight(page.bands[b], range.key) > bandWeight(page.bands[a], range.key) ? b : a,
  );
  const key = chosenPlace.band ?? fullest;
  const entry = page.bands[key];
  const hasMoves = Object.values(page.bands).some((one) => one.heat.move);
  const layers = Object.entries(LAYERS).filter(([name]) => name !== "move" || hasMoves);
  const layer = layers.some(([name]) => name === chosenPlace.layer) ? chosenPlace.layer : "click";
  const several = new Set(shown.map(({ source }) => source)).size > 1;
  const controls = el(
    "div",
    { class: "place-controls" },
    select(
      "Page",
      shown.map((one, at) => [String(at), several ? `${one.path} (${one.source})` : one.path]),
      String(shown.indexOf(page)),
      (at) => choose({ page: shown[at], band: null }, "select"),
    ),
    pressed("Window", Object.entries(BANDS), key, (band) => choose({ band }, `[data-choice="${band}"]`)),
    pressed(
      "Layer",
      layers.map(([name, [text]]) => [name, text]),
      layer,
      (name) => choose({ layer: name }, `[data-choice="${name}"]`),
    ),
    pressed(
      "Size of the picture",
      [
        ["near", "Near"],
        ["whole", "Whole page"],
      ],
      chosenPlace.whole ? "whole" : "near",
      (name) => choose({ whole: name === "whole" }, `[data-choice="${name}"]`),
    ),
  );
  const band = `${BANDS[key].toLowerCase()} windows`;
  return [
    el(
      "div",
      { class: "card" },
      cardHead(outside(page.path), controls),
      el(
        "div",
        { class: "place" },
        el("div", { class: "place-picture" }, placePicture(page, entry, key, layer, band, range)),
        el(
          "div",
          { class: "place-facts" },
          reachCard(`${page.path}, ${band}`, entry.reach[range.key], range),
          depthsCard(`${page.path}, ${band}`, entry.depths, range),
          elementsCard(page, state, range),
        ),
      ),
    ),
  ];
}

// segments whose pressed button can be found again after it was drawn anew
function pressed(label, choices, chosen, choose) {
  const group = segments(label, choices, chosen, choose);
  [...group.children].forEach((button, at) => button.setAttribute("data-choice", choices[at][0]));
  return group;
}

function placePicture(page, entry, key, layer, band, range) {
  const size = { ...sheetSize({ entry }, key), shown: USUAL[key].shown, pinned: USUAL[key].pinned, whole: chosenPlace.whole };
  const isDepth = layer === "scroll" || layer === "attention";
  const label = `${LAYERS[layer][0]} on ${page.path}, ${band}, ${span(range.since, range.until)}`;
  const reach = entry.reach[range.key];
  const heat = entry.heat[layer]?.[range.key];
  const words = note(...(isDepth ? depthWords(layer, reach, band) : placeWords(page, layer, heat, band, range)));
  if (!entry.outline)
    words.append(" No outline of this page in such a window has come yet, so the heat lies on blank paper.");
  else if (entry.outline.box_n > entry.outline.boxes.length)
    words.append(` The outline shows its ${count(entry.outline.boxes.length)} largest boxes of ${count(entry.outline.box_n)}.`);
  if (hasStill(entry.outline)) words.append(" Dashed boxes stay in the window while the page scrolls.");
  if (layer === "scroll" ? reach?.reached : isDepth && sumOf(reach?.attention))
    return [words, ...depthsPicture(label, layer, reach, entry, size)];
  if (!isDepth && heat) return [words, ...placesPicture(label, layer, heat, entry, size)];
  return [words];
}

function depthWords(layer, reach, band) {
  if (layer === "scroll")
    return reach?.reached
      ? [
          `The share of ${plural(reach.view_n, "view")} that gets so far down, by twentieth of the page.`,
          reach.view_n < FEW ? " So few views make no pattern." : "",
        ]
      : [`Scrolling of ${band} is not tracked here in this range: not known, which is not 0.`];
  if (!reach?.attention)
    return [`Attention of ${band} is not tracked here in this range: not known, which is not 0.`];
  const spent = sumOf(reach.attention) / 1000;
  return [
    spent
      ? `Where ${duration(spent)} of visible and focused time went, by twentieth of the page.`
      : "No attention was measured here: 0 seconds.",
    spent && spent < 60 ? " So little time makes no pattern." : "",
  ];
}

const SIGNAL_AT = { rage: 1, dead: 2 };
function placeWords(page, layer, heat, band, range) {
  const [, noun] = LAYERS[layer];
  const views = page.views?.[range.key];
  if (!heat) {
    const found = layer in SIGNAL_AT && views ? views[SIGNAL_AT[layer]] : undefined;
    const isUntracked = found === null;
    const isDrawn = Object.values(page.bands).some((one) => one.heat[layer]?.[range.key]);
    // those that a model finds among the clicks have no place of their own
    if (found > 0 && !isDrawn)
      return [`${plural(found, noun)} on this page in all windows; none came with a place to draw.`];
    return [
      isUntracked
        ? `${noun[0].toUpperCase()}${noun.slice(1)}s are not tracked on this page in this range: not known, which is not 0.`
        : `No ${noun} from ${band} in ${span(range.since, range.until)}: choose another window or a longer range.`,
    ];
  }
  return [
    `${plural(heat.n, noun)} from ${band}`,
    heat.raw_n < heat.n ? `, estimated from ${count(heat.raw_n)} sampled` : "",
    heat.fixed ? `, ${count(heat.fixed.n)} of them on fixed parts` : "",
    views ? `; ${plural(views[0], "view")} in all windows.` : ".",
    heat.fold_n ? ` ${share(heat.fold_n / heat.n)} lie below the fold.` : "",
    heat.out_n
      ? ` ${plural(heat.out_n, noun)} more without a usable place (from the keyboard, or with impossible coordinates) ${heat.out_n === 1 ? "is" : "are"} not drawn.`
      : "",
    heat.n < FEW ? ` Only ${plural(heat.n, noun)}: single visits, not a pattern.` : "",
    heat.below_n ? ` ${plural(heat.below_n, noun)} below 20,000 px ${heat.below_n === 1 ? "is" : "are"} counted, not drawn.` : "",
    heat.page && heat.page.size > 1 ? ` Drawn in squares of ${heat.page.size} % × ${heat.page.size * Y_PIXELS} px to keep this file small.` : "",
  ];
}
