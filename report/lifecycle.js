// Lifecycle: who is new, stays, comes back or falls silent, period by period.
const STATES = [
  ["new", "New", "first active ever", 1],
  ["returning", "Returning", "active in the period before too", 2],
  ["resurrecting", "Resurrected", "active again after a pause", 3],
  ["dormant", "Dormant", "active in the period before, not in this one", 8],
];
let lifeGrain = "week";

function lifecycle(section, state) {
  const why = "people belong to no single one";
  section.replaceChildren(
    heading("lifecycle", "Lifecycle", unfiltered(state, { source: why, channel: why, device: why })),
  );
  if (data.lifecycle.empty) return section.append(empty(data.lifecycle.empty));
  const grains = GRAINS.filter(([key]) => data.lifecycle[key]);
  if (!data.lifecycle[lifeGrain]) lifeGrain = grains[0][0];
  const series = data.lifecycle[lifeGrain];
  const range = data.period ? rangeOf(state) : { since: series.starts[0], until: series.starts.at(-1) };
  const at = series.starts
    .map((_, index) => index)
    .filter((index) => lastDay(series.starts[index], lifeGrain) >= range.since && series.starts[index] <= range.until);
  const named = lifeGrain === "month" ? month : lifeGrain === "week" ? (on) => `Week of ${day(on)}` : weekday;
  const title = `People by ${lifeGrain}`;
  const isFirst = at[0] === 0;
  section.append(
    el(
      "div",
      { class: "card" },
      cardHead(
        title,
        el(
          "span",
          { class: "legend" },
          STATES.map(([, label, says, hue]) => el("span", { title: says }, mark(`var(--series-${hue})`), label)),
        ),
        pressed("Length of the period", grains, lifeGrain, (key) => {
          lifeGrain = key;
          lifecycle(section, state);
          drawNew();
          section.querySelector(`[data-choice="${key}"]`)?.focus({ preventScroll: true });
        }),
      ),
      note(
        `Above the line people who were active: new ones, those who were there the ${lifeGrain} before too, and those who came back after a pause. Below it those who were active the ${lifeGrain} before and stayed away, counted once.`,
        isFirst ? ` In the first ${lifeGrain} on record everybody is new.` : "",
        ` Of a ${lifeGrain} that is not over nobody is dormant yet.`,
      ),
      at.length
        ? chart(`${title}, ${span(range.since, range.until)}`, 280, (colours) => ({
            grid: plot(),
            xAxis: {
              ...categories(
                colours,
                at.map((index) => series.starts[index]),
                lifeGrain === "month" ? month : dayShort,
              ),
              boundaryGap: true,
            },
            yAxis: values(colours, (n) => tick.format(Math.abs(n)), { minInterval: 1 }),
            tooltip: tip(colours, (points) => {
              const index = at[points[0].dataIndex];
              return tipBox(
                named(series.starts[index]) + (series.is_complete[index] ? "" : ", so far"),
                STATES.map(([key, label, , hue]) => [
                  label,
                  known(series[key][index]) ? count(series[key][index]) : "not over",
                  colours.series[hue - 1],
                ]),
              );
            }),
            series: STATES.map(([key, , , hue]) => ({
              type: "bar",
              stack: "all",
              data: at.map((index) => (key === "dormant" && known(series[key][index]) ? -1 : 1) * series[key][index]),
              barCategoryGap: "18%",
              barMaxWidth: 40,
              itemStyle: { color: colours.series[hue - 1] },
              emphasis: { disabled: true },
            })),
          }))
        : empty(`No ${lifeGrain} on record lies in ${span(range.since, range.until)}: choose a longer range.`),
      at.length
        ? twin(
            `${title}, newest first`,
            [
              { label: capital(lifeGrain), text: (index) => named(series.starts[index]) },
              ...STATES.map(([key, label]) => ({
                label,
                number: true,
                cell: (index) => (known(series[key][index]) ? count(series[key][index]) : without("not over")),
              })),
              {
                label: "Active",
                number: true,
                text: (index) => count(series.new[index] + series.returning[index] + series.resurrecting[index]),
              },
              { label: "Complete", text: (index) => (series.is_complete[index] ? "yes" : "not yet") },
            ],
            [...at].reverse(),
          )
        : null,
    ),
  );
}
