// Ways of visits between pages that the reader chooses, of the last days, whose events are published one by one.
let walk = { start: "", end: "", steps: 5 };
const FOLD_NODES = 7;
const SHOWN_WAYS = 15;

function walks(state, redraw) {
  const card = el("div", { class: "card" });
  const choose = (part, label) => {
    walk = { ...walk, ...part };
    redraw();
    document.querySelector(`#journeys select[aria-label="${label}"]`)?.focus({ preventScroll: true });
  };
  const title = "From where to where";
  if (data.walks.empty) {
    card.append(cardHead(title), empty(data.walks.empty));
    return card;
  }
  const { first, last, nodes } = data.walks;
  const places = nodes.filter((node) => node !== "(other)").map((node) => [node, node]);
  card.append(
    cardHead(
      title,
      journeyLegend(),
      el(
        "span",
        { class: "place-controls" },
        select("Start", [["", "from the first page"], ...places], walk.start, (start) => choose({ start }, "Start")),
        select("End", [["", "to the end of the visit"], ...places], walk.end, (end) => choose({ end }, "End")),
        select(
          "Steps",
          [3, 4, 5, 6, 8, 10].map((n) => [String(n), `${n} steps`]),
          String(walk.steps),
          (n) => choose({ steps: Number(n) }, "Steps"),
        ),
      ),
    ),
  );
  const asked = rangeOf(state);
  const range = { since: asked.since < first ? first : asked.since, until: asked.until > last ? last : asked.until };
  if (range.since !== asked.since || range.until !== asked.until)
    card.append(
      el("p", { class: "note unfiltered" }, `Events are published for ${span(first, last)} only ([publish] events_days).`),
    );
  if (range.since > range.until) {
    card.append(empty(`No visit of ${span(asked.since, asked.until)} is published: choose dates from ${day(first)} on.`));
    return card;
  }
  const { found, all } = walkWays(state, range);
  const { visit_n, shown_n } = data.walks;
  card.append(
    note(
      `${plural(found.unit_n, "visit")} of ${count(all)} take such a way; a way begins at the first time of its start`,
      walk.end ? " and stops at the first time of its end." : ".",
      walk.start || walk.end ? " The others lack one of the two, in this order." : "",
      shown_n < visit_n
        ? ` The rarest ways are left out to keep this file small: ${count(visit_n - shown_n)} of ${plural(visit_n, "visit")} (${share((visit_n - shown_n) / visit_n)}).`
        : "",
    ),
    ...(found.flow.edges.length
      ? journeyBody({ name: title }, found, range)
      : [empty("No visit goes this way in these dates: choose another start or end, or a longer range.")]),
  );
  return card;
}

// [names of the nodes, what comes after them] of the part of a way that is asked for, or null
function walkPart(way, isOpen, hasMore) {
  const { nodes } = data.walks;
  const [start, end] = [nodes.indexOf(walk.start), nodes.indexOf(walk.end)];
  let [from, to] = [0, way.length];
  if (start >= 0) from = way.indexOf(start);
  if (from < 0) return null;
  if (end >= 0) {
    const stop = way.indexOf(end, start >= 0 ? from + 1 : 0);
    if (stop < 0) return null;
    to = stop + 1;
    if (start < 0) from = Math.max(0, to - walk.steps);
  }
  const names = way.slice(from, Math.min(to, from + walk.steps)).map((node) => nodes[node]);
  if (from + walk.steps < to || (hasMore && end < 0)) return [names, "(more)"];
  return [names, end >= 0 || isOpen ? null : "(exit)"];
}

// the chosen ways as a flow and as paths, in the shape of a journey that was counted beforehand
function walkWays(state, range) {
  const { first, rows } = data.walks;
  const dayNo = (on) => (asDate(on) - asDate(first)) / 86400000;
  const [from, to] = [dayNo(range.since), dayNo(range.until)];
  const wanted = chosenIn(state);
  const ways = new Map();
  let all = 0;
  for (const [s, c, d, isOpen, way, hasMore, days, visits, converted] of rows) {
    if (![s, c, d].every((value, at) => isIn(wanted[at], value))) continue;
    let [n, done] = [0, 0];
    days.forEach((on, at) => {
      if (on < from || on > to) return;
      n += visits[at];
      done += converted[at];
    });
    if (!n) continue;
    all += n;
    const part = walkPart(way, isOpen, hasMore);
    if (!part) continue;
    const key = JSON.stringify(part);
    const sum = ways.get(key) ?? [part, 0, 0];
    sum[1] += n;
    sum[2] += done;
    ways.set(key, sum);
  }
  const paths = new Map();
  for (const [[names], n, done] of ways.values()) {
    const path = names.join(" > ");
    const sum = paths.get(path) ?? [path, 0, 0];
    sum[1] += n;
    sum[2] += done;
    paths.set(path, sum);
  }
  const ranked = [...paths.values()].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return {
    all,
    found: {
      flow: walkFlow([...ways.values()]),
      paths: ranked.slice(0, SHOWN_WAYS),
      path_n: ranked.length,
      unit_n: ranked.reduce((n, row) => n + row[1], 0),
    },
  };
}

// in each step the smallest nodes become (other), so that no visit is left out
function walkFlow(ways) {
  const weights = [];
  for (const [[names, after], n] of ways)
    [...names, ...(after ? [after] : [])].forEach((name, step) => {
      weights[step] ??= new Map();
      weights[step].set(name, (weights[step].get(name) ?? 0) + n);
    });
  const kept = weights.map((found) => {
    const plain = [...found].filter(([name]) => !(name in SPECIAL)).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    return new Set(plain.slice(0, plain.length <= FOLD_NODES + 1 ? plain.length : FOLD_NODES).map(([name]) => name));
  });
  const units = new Map();
  const folded = kept.map(() => new Set());
  const edges = new Map();
  let rawEdges = new Set();
  for (const [[names, after], n] of ways) {
    const full = [...names, ...(after ? [after] : [])];
    const line = full.map((name, step) => {
      if (name in SPECIAL || kept[step].has(name)) return name;
      folded[step].add(name);
      return "(other)";
    });
    line.forEach((name, step) => {
      const key = `${step}\n${name}`;
      units.set(key, (units.get(key) ?? 0) + n);
      if (!step) return;
      const edge = `${step - 1}\n${line[step - 1]}\t${key}`;
      edges.set(edge, (edges.get(edge) ?? 0) + n);
      rawEdges.add(`${step}\n${full[step - 1]}\t${full[step]}`);
    });
  }
  const rank = (name) => ({ "(other)": 1, "(more)": 2, "(exit)": 3 })[name] ?? 0;
  const order = [...units]
    .map(([key, n]) => [key, ...key.split("\n"), n])
    .sort((a, b) => a[1] - b[1] || rank(a[2]) - rank(b[2]) || b[3] - a[3]);
  const index = new Map(order.map(([key], at) => [key, at]));
  return {
    nodes: order.map(([, step, name, n]) => [Number(step) + 1, name, n, name === "(other)" ? folded[step].size : 0]),
    edges: [...edges].map(([edge, n]) => [...edge.split("\t").map((key) => index.get(key)), n, null]),
    edge_n: rawEdges.size,
  };
}
