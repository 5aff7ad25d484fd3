// Journeys: the flow from step to step, and the paths most taken.
const WALKED = "a defined journey is counted by date only";
function journeys(section, state) {
  section.replaceChildren(heading("journeys", "Journeys"), walks(state, () => {
    journeys(section, state);
    drawNew();
  }));
  const left = unfiltered(state, { source: WALKED, channel: WALKED, device: WALKED, range: PREPARED });
  section.append(el("h3", { class: "part" }, "Defined journeys"));
  if (left) section.append(left);
  const shown = data.journeys.empty ? [] : data.journeys;
  for (const journey of shown) {
    const range = prepared(state);
    section.append(journeyCard(journey, journey.ranges[range.key], range));
  }
  const left_out = troubled("journey").filter((name) => shown.every((journey) => journey.name !== name));
  for (const name of left_out)
    section.append(el("div", { class: "card" }, cardHead(outside(name)), empty(`No journey: ${nothingComes("journey", name)}.`)));
  if (data.journeys.empty && !left_out.length) section.append(empty(data.journeys.empty));
}

const SPECIAL = {
  "(exit)": "left the site",
  "(more)": "went on beyond the last step shown",
  "(other)": "smaller pages together",
};

const journeyLegend = () =>
  el(
    "span",
    { class: "legend" },
    el("span", {}, mark("var(--accent)"), "page"),
    el("span", {}, mark("var(--faint)"), "(other)"),
    el("span", {}, mark("var(--more)"), "(more) steps"),
    el("span", {}, mark("var(--exit)"), "(exit)"),
  );

function journeyCard(journey, found, range) {
  const card = el("div", { class: "card" }, cardHead(outside(journey.name), journeyLegend()));
  card.append(
    ...(found.flow.edges.length
      ? journeyBody(journey, found, range)
      : [empty(`No journey began in ${span(range.since, range.until)}: choose a longer range.`)]),
  );
  return card;
}

// the flow and the paths of a journey, counted beforehand or chosen just now
function journeyBody(journey, found, range) {
  const { nodes, edges } = found.flow;
  const card = el("div", {});
  const hasTimes = edges.some((edge) => known(edge[3]));
  const folded = nodes.reduce((n, node) => n + node[3], 0);
  card.append(
    note(
      `${plural(
        nodes.filter((node) => node[0] === 1).reduce((n, node) => n + node[2], 0),
        "journey",
      )} begun ${span(range.since, range.until)}.`,
      folded
        ? ` ${plural(folded, "smaller node")} folded into (other), so ${count(found.flow.edge_n)} edges fit into ${count(edges.length)}.`
        : "",
      " Open sessions have no exit yet.",
    ),
    sankey(journey, nodes, edges),
    twin(
      `${journey.name}: flow from step to step`,
      [
        { label: "Step", text: (edge) => String(nodes[edge[0]][0]) },
        { label: "From", cell: (edge) => outside(nodes[edge[0]][1]) },
        { label: "To", cell: (edge) => outside(nodes[edge[1]][1]) },
        { label: "Units", number: true, text: (edge) => count(edge[2]) },
        { label: "Of those at From", number: true, text: (edge) => share(edge[2] / nodes[edge[0]][2]) },
        ...(hasTimes
          ? [{ label: "Typical time (mean of daily medians)", number: true, text: (edge) => duration(edge[3]) }]
          : []),
      ],
      [...edges].sort((a, b) => nodes[a[0]][0] - nodes[b[0]][0] || b[2] - a[2]),
    ),
  );
  if (found.paths.length) {
    const rest = found.path_n - found.paths.length;
    card.append(
      table(
        `Paths most taken, ${span(range.since, range.until)}${rest > 0 ? `: ${count(found.paths.length)} of ${count(found.path_n)}` : ""}`,
        [
          {
            label: "Path",
            cell: (row) =>
              el(
                "span",
                { class: "path", title: row[0] },
                row[0]
                  .split(" > ")
                  .map((node) => el("bdi", { class: node in SPECIAL ? "special" : "" }, node)),
              ),
          },
          { label: "Journeys", number: true, text: (row) => count(row[1]) },
          { label: "Share", number: true, text: (row) => share(row[1] / found.unit_n) },
          { label: "Converted", number: true, text: (row) => count(row[2]) },
          { label: "Conversion", number: true, text: (row) => share(row[1] ? row[2] / row[1] : null) },
        ],
        found.paths,
        { visible: true, className: "dense" },
      ),
    );
  }
  return [...card.childNodes];
}

function sankey(journey, nodes, edges) {
  const steps = Math.max(...nodes.map((node) => node[0]));
  const most = Math.max(
    ...Array.from({ length: steps }, (_, at) => nodes.filter((node) => node[0] === at + 1).length),
  );
  const share1 = nodes.filter((node) => node[0] === 1).reduce((n, node) => n + node[2], 0);
  const height = Math.max(320, Math.min(600, most * 54));
  const wide = steps * 165;
  return chart(
    `${journey.name}: flow over ${steps} steps`,
    height,
    (colours, width) => {
      const room = width / steps;
      const colourOf = ([, name], at) =>
        ({
          "(exit)": colours.exit,
          "(more)": getComputedStyle(document.documentElement).getPropertyValue("--more").trim(),
          "(other)": colours.faint,
        })[name] ?? colours.accent;
      return {
        tooltip: tip(
          colours,
          (point) => {
            if (point.dataType === "edge") {
              const [a, b, n, seconds] = edges[point.data.at];
              return tipBox(`Step ${nodes[a][0]} to ${nodes[a][0] + 1}`, [
                [`${nodes[a][1]} → ${nodes[b][1]}`, count(n)],
                ["of those there", share(n / nodes[a][2])],
                ...(known(seconds) ? [["typical time", duration(seconds)]] : []),
              ]);
            }
            const node = nodes[point.data.at];
            return tipBox(`Step ${node[0]}`, [
              [node[1], count(node[2])],
              ["of all journeys", share(node[2] / share1)],
              ...(SPECIAL[node[1]] ? [[SPECIAL[node[1]], node[3] ? count(node[3]) : ""]] : []),
            ]);
          },
          "item",
        ),
        series: [
          {
            type: "sankey",
            left: 2,
            right: room * 0.82,
            top: 10,
            bottom: 10,
            nodeWidth: 10,
            nodeGap: 18,
            layoutIterations: 0,
            draggable: false,
            nodeAlign: "left",
            emphasis: { focus: "adjacency", lineStyle: { opacity: 0.55 } },
            blur: { lineStyle: { opacity: 0.06 }, itemStyle: { opacity: 0.4 } },
            label: {
              color: colours.ink,
              fontSize: 11,
              fontFamily: "inherit",
              position: "right",
              distance: 6,
              width: room - 42,
              overflow: "truncate",
              textBorderColor: colours.card,
              textBorderWidth: 3,
              formatter: ({ data: { at } }) => `${compact(nodes[at][2])}  ${nodes[at][1]}`,
            },
            lineStyle: { color: "source", opacity: 0.2, curveness: 0.5 },
            data: nodes.map((node, at) => ({
              name: String(at),
              at,
              depth: node[0] - 1,
              itemStyle: { color: colourOf(node, at), borderWidth: 0, borderRadius: 2 },
              label: node[1] in SPECIAL ? { color: colours.soft } : {},
            })),
            links: edges.map(([a, b, n], at) => ({
              source: String(a),
              target: String(b),
              value: n,
              at,
              lineStyle: {
                color:
                  nodes[b][1] === "(exit)"
                    ? colours.exit
                    : nodes[b][1] === "(more)" || nodes[b][1] === "(other)"
                      ? colours.faint
                      : colours.accent,
              },
            })),
          },
        ],
      };
    },
    { wide },
  );
}
