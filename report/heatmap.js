// The page as an outline, with heat over it: true to the window's width, scrolled in a frame, its fold marked.
const BANDS = { mobile: "Mobile", tablet: "Tablet", desktop: "Desktop" };
const LAYERS = {
  click: ["Clicks", "click"],
  rage: ["Rage", "rage click"],
  dead: ["Dead", "dead click"],
  move: ["Moves", "pointer sample"],
  scroll: ["Scroll"],
  attention: ["Attention"],
};
const USUAL = {
  mobile: { width: 390, fold: 780, shown: 330, pinned: 150 },
  tablet: { width: 820, fold: 1080, shown: 480, pinned: 200 },
  desktop: { width: 1280, fold: 800, shown: 660, pinned: 330 },
};
const FEW = 30;

// the page's size in its own pixels: as outlined, else as deep as anything happened
function sheetSize(band, key) {
  const found = band.entry;
  if (found.outline) {
    const { width, height, fold } = found.outline;
    return { width, height, fold: fold ?? USUAL[key].fold, isKnown: known(fold) };
  }
  const { width, fold } = USUAL[key];
  let height = fold;
  for (const ranges of Object.values(found.heat))
    for (const one of Object.values(ranges))
      for (const [, y, , h] of unpack(one.page, width)) height = Math.max(height, y + h);
  return { width, height, fold, isKnown: false };
}

function wireframe(outline, size) {
  const { width, height } = size;
  const font = (11 * width) / shownWidth(size);
  const frame = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none",
    class: "wire",
    "aria-hidden": "true",
  });
  const taken = [];
  for (const [name, x, y, w, h, isFixed] of outline?.boxes ?? []) {
    frame.append(
      svg("rect", { x, y, width: w, height: h, rx: Math.min(font / 3, h / 4), class: isFixed ? "still" : "" }),
    );
    const room = Math.floor((w - font) / (font * 0.54));
    const text = name.length <= room ? name : room >= 7 ? `${name.slice(0, room - 1)}…` : "";
    const place = [x + font / 2, y + font * 0.35, text.length * font * 0.64, font * 1.1];
    if (!text || h < font * 1.5 || taken.some((one) => overlap(one, place))) continue;
    taken.push(place);
    frame.append(svg("text", { x: place[0], y: place[1] + font * 0.85, "font-size": font }, text));
  }
  return frame;
}

const hasStill = (outline) => (outline?.boxes ?? []).some((box) => box[5]);

const overlap = (a, b) =>
  a[0] < b[0] + b[2] && b[0] < a[0] + a[2] && a[1] < b[1] + b[3] && b[1] < a[1] + a[3];

// the smallest outlined box around a point of the page, or among those that stay in the window
function boxAt(outline, x, y, isFixed = false) {
  const around = (outline?.boxes ?? []).filter(
    (box) => box[5] === isFixed && x >= box[1] && x < box[1] + box[3] && y >= box[2] && y < box[2] + box[4],
  );
  return around.length ? around.reduce((a, b) => (b[3] * b[4] < a[3] * a[4] ? b : a))[0] : null;
}

// `whole`: no taller than the frame
const FRAME = 690;
const shownWidth = ({ width, height, shown, whole }) =>
  whole ? Math.min(shown, (FRAME * width) / height) : shown;

function sheet(label, size, outline, canvas, marks) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${label}. A table follows.`);
  return el(
    "div",
    { class: "sheet", "--ratio": String(size.width / size.height), "--shown": `${shownWidth(size)}px` },
    wireframe(outline, size),
    canvas,
    ...marks,
  );
}

const markAt = (part, name, text) =>
  el("div", { class: `mark ${name}`, "aria-hidden": "true", "--at": `${part * 100}%` }, el("span", {}, text));

const foldMark = (size) =>
  size.fold < size.height
    ? [markAt(size.fold / size.height, "fold", size.isKnown ? "fold" : "usual fold")]
    : [];

const frameOf = (label, ...children) =>
  el("div", { class: "frame", tabindex: "0", role: "region", "aria-label": label }, children);

// places: clicks and the like, on the page and apart from it on what stays in the window
function placesPicture(label, kind, heat, entry, size) {
  const [, noun] = LAYERS[kind];
  const picture = (title, layer, part, marks) => {
    const found = densityOf(layer, part.width, part.height);
    const canvas = painted(el("canvas", {}), (colours) => paintDensity(canvas, found, colours));
    return [found, sheet(title, part, entry.outline, canvas, marks)];
  };
  const squares = unpack(heat.page, size.width);
  const [found, drawn] = picture(label, heat.page, size, foldMark(size));
  const readout = el("p", { class: "readout", "aria-hidden": "true" });
  drawn.addEventListener("pointermove", (event) => {
    const box = drawn.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (x < 0 || x >= 1 || y < 0 || y >= 1) return;
    const n = found.values[Math.floor(y * found.high) * found.wide + Math.floor(x * found.wide)];
    const name = boxAt(entry.outline, x * size.width, y * size.height);
    readout.replaceChildren(
      `${percent(x * 100)} % across, ${count(y * size.height)} px down: ${n < 0.05 ? `no ${noun}` : `about ${measure(n)}`} on this spot`,
      ...(name ? [", on ", outside(name)] : []),
    );
  });
  drawn.addEventListener("pointerleave", () => readout.replaceChildren());
  const parts = [
    frameOf(label, drawn),
    el(
      "div",
      { class: "heat-foot" },
      heatLegend(`${noun}s on one spot, ${spotSide(size.width)} × ${spotSide(size.width)} px`, scaleTicks(found.most)),
      readout,
    ),
  ];
  if (heat.fixed) {
    const [still, window] = picture(
      `${label}, fixed layer`,
      heat.fixed,
      { ...size, height: size.fold, shown: size.pinned, whole: false },
      [],
    );
    parts.push(
      el(
        "div",
        { class: "pinned" },
        window,
        el(
          "div",
          {},
          el("h4", {}, "Fixed layer: on what stays in the window"),
          note(
            `${plural(heat.fixed.n, noun)} on bars and buttons that do not scroll along, at their place in the window. The hottest spot has ${measure(still.most)}. `,
            hasStill(entry.outline)
              ? "Dashed boxes are the parts that stay; the rest is the page as it opens."
              : "The outline does not say which parts stay, so below the heat lies the page as it opens.",
          ),
        ),
      ),
    );
  }
  const rows = [
    ...squares.map((one) => ["page", ...one]),
    ...unpack(heat.fixed, size.width).map((one) => ["fixed", ...one]),
  ].sort((a, b) => b[5] - a[5] || a[2] - b[2] || a[1] - b[1]);
  const most = rows.slice(0, 50);
  parts.push(
    twin(
      `${label}: ${most.length < rows.length ? `${count(most.length)} of ${plural(rows.length, "square")}, fullest first` : "all squares, fullest first"}`,
      [
        {
          label: "Place",
          text: ([, x, y, w, h]) =>
            `${percent((x / size.width) * 100)}–${percent(((x + w) / size.width) * 100)} % across, ${count(y)}–${count(y + h)} px down`,
        },
        { label: "Layer", text: ([layer]) => layer },
        {
          label: "On",
          cell: ([layer, x, y, w, h]) => {
            const name = boxAt(entry.outline, x + w / 2, y + h / 2, layer === "fixed");
            return name ? outside(name) : NONE;
          },
        },
        { label: `${noun[0].toUpperCase()}${noun.slice(1)}s`, number: true, text: (row) => measure(row[5]) },
        { label: "Share", number: true, text: (row) => share(row[5] / heat.n) },
      ],
      most,
    ),
  );
  return parts;
}

const percent = (n) => integer.format(n);
// sampled events count for several, so sums may have a part
const measure = (n) => (!known(n) ? NONE : Number.isInteger(n) || n >= 10 ? count(n) : tenth.format(n));
const scaleTicks = (most) => ["0", ...[0.5, 1].map((t) => measure(most * t ** (1 / HEAT_POWER)))];

// depths: the share that gets so far, or that of the time spent there
function depthsPicture(label, layer, reach, entry, size) {
  const isScroll = layer === "scroll";
  const spent = sumOf(reach.attention);
  const shares = isScroll ? reach.reached.map((n) => n / reach.view_n) : reach.attention.map((ms) => ms / spent);
  const most = isScroll ? 1 : Math.max(...shares);
  const canvas = painted(el("canvas", {}), (colours) =>
    paintBands(
      canvas,
      shares.map((one) => one / most),
      isScroll ? colours.accent : colours.series[1],
    ),
  );
  const marks = shares.flatMap((one, at) => (at % 2 ? [] : [markAt(at / DEPTHS, "depth", shareShort(one))]));
  return [
    frameOf(label, sheet(label, size, entry.outline, canvas, [...marks, ...foldMark(size)])),
    heatLegend(
      isScroll ? "views that get so far" : "share of attention, a twentieth of the page",
      [0, most / 2, most].map(shareShort),
      isScroll ? "var(--accent)" : "var(--series-2)",
    ),
    twin(label, reachColumns(reach), [...Array(DEPTHS).keys()]),
  ];
}
