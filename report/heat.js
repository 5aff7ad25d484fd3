// Heat: places and their numbers as a smooth picture. The scale differs in lightness all along, so it needs no hue.
const Y_PIXELS = 16;
const heatStops = (colours) =>
  colours.heat.map((hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)));

function heatColour(stops, t) {
  const at = Math.min(0.9999, Math.max(0, t)) * (stops.length - 1);
  const low = Math.floor(at);
  return stops[low].map((from, channel) => Math.round(from + (stops[low + 1][channel] - from) * (at - low)));
}

// most of what is there lies under few hot places: the root lets the rest be seen too
const HEAT_POWER = 0.6;
const heatShade = (value, most) => (most > 0 ? (value / most) ** HEAT_POWER : 0);

// squares of cells as [x, y, w, h, n] in pixels of a window `width` wide
function unpack(layer, width) {
  if (!layer) return [];
  const { size, cells } = layer;
  const wide = Math.ceil(100 / size);
  const found = [];
  let at = -1;
  for (let n = 0; n < cells.length; n += 2) {
    at += cells[n];
    found.push([
      ((at % wide) * size * width) / 100,
      Math.floor(at / wide) * size * Y_PIXELS,
      (size * width) / 100,
      size * Y_PIXELS,
      cells[n + 1],
    ]);
  }
  return found;
}

// a spot: what the eye takes together, as the standard deviation of a Gaussian in pixels, and as a square of equal area
const spotOf = (width) => Math.min(18, Math.max(9, width * 0.014));
const spotSide = (width) => Math.round(spotOf(width) * Math.sqrt(2 * Math.PI));

// events on the spot around each point of a grid `wide` points across; one alone counts 1 at its place
function density(squares, width, height) {
  const wide = Math.max(40, Math.min(260, Math.floor((6000 * width) / height)));
  const scale = wide / width;
  const high = Math.max(1, Math.ceil(height * scale));
  const values = new Float32Array(wide * high);
  const least = spotOf(width);
  for (const [x, y, w, h, n] of squares) {
    const [sx, sy] = [w, h].map((side) => Math.max(least, side / 2) * scale);
    const [cx, cy] = [(x + w / 2) * scale, (y + h / 2) * scale];
    const weight = (n * least * least * scale * scale) / (sx * sy);
    const to = Math.min(high - 1, Math.ceil(cy + 3 * sy));
    for (let row = Math.max(0, Math.floor(cy - 3 * sy)); row <= to; row += 1) {
      const down = weight * Math.exp(-((row + 0.5 - cy) ** 2) / (2 * sy * sy));
      const end = Math.min(wide - 1, Math.ceil(cx + 3 * sx));
      for (let column = Math.max(0, Math.floor(cx - 3 * sx)); column <= end; column += 1)
        values[row * wide + column] += down * Math.exp(-((column + 0.5 - cx) ** 2) / (2 * sx * sx));
    }
  }
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return { wide, high, values, most };
}

// a layer of a page always lies in the same window, so what was found for it once holds for every later picture
const densities = new WeakMap();
function densityOf(layer, width, height) {
  if (!layer) return density([], width, height);
  if (!densities.has(layer)) densities.set(layer, density(unpack(layer, width), width, height));
  return densities.get(layer);
}

function paintDensity(canvas, { wide, high, values, most }, colours) {
  canvas.width = wide;
  canvas.height = high;
  const stops = heatStops(colours);
  const context = canvas.getContext("2d");
  const image = context.createImageData(wide, high);
  for (let at = 0; at < values.length; at += 1) {
    const t = heatShade(values[at], most);
    if (t < 0.06) continue;
    const [red, green, blue] = heatColour(stops, t);
    image.data.set([red, green, blue, 255 * Math.min(0.88, (t - 0.06) * 3, 0.4 + t * 0.5)], at * 4);
  }
  context.putImageData(image, 0, 0);
}

// one line across the page for each share; the browser smooths what lies between
function paintBands(canvas, shares, colour) {
  canvas.width = 1;
  canvas.height = shares.length;
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  shares.forEach((share, at) => {
    context.globalAlpha = 0.03 + 0.5 * share;
    context.fillRect(0, at, 1, 1);
  });
}

// the scale from left to right with its numbers below; of one colour, it goes from faint to full
function heatLegend(unit, ticks, colour) {
  return el(
    "div",
    { class: "heat-legend" },
    el("span", {}, unit),
    el("div", { class: `heat-bar ${colour ? "plain" : ""}`, "--colour": colour }),
    el(
      "div",
      { class: "heat-ticks" },
      ticks.map((text) => el("span", {}, text)),
    ),
  );
}

// what paints itself is drawn with the charts
function painted(canvas, paint) {
  charts.add({ box: canvas, paint, instance: null, isDrawn: false });
  return canvas;
}
