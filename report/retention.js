// Retention: one row a cohort, one column a period after; grey says why there is no number.
const SHOWN_COHORTS = 16;

function retention(section, state) {
  section.replaceChildren(heading("retention", "Retention", ofAllSources(state)));
  if (data.retention.empty) return section.append(empty(data.retention.empty));
  for (const name of new Set(data.retention.map((one) => one.name)))
    section.append(retentionCard(data.retention.filter((one) => one.name === name)));
}

function retentionCard(matrices) {
  const card = el("div", { class: "card" });
  let isAll = false;
  const show = (matrix) => {
    const beside =
      matrices.length > 1
        ? select(
            "Group",
            matrices.map((one) => [one.value, one.value]),
            matrix.value,
            (value) => show(matrices.find((one) => one.value === value)),
          )
        : null;
    const censored = matrix.cohorts.filter((cohort) => cohort.is_censored).length;
    const hidden = matrix.cohorts.length - SHOWN_COHORTS;
    card.replaceChildren(
      el(
        "div",
        { class: "card-head" },
        el("h3", {}, outside(matrix.name)),
        el(
          "span",
          { class: "legend" },
          el("span", {}, el("i", { class: "swatch late" }), "not over yet"),
          el("span", {}, el("i", { class: "swatch warm" }), "warm-up: old customers look new"),
          el("span", {}, el("i", { class: "swatch none" }), "nobody began"),
        ),
        beside,
      ),
      note(
        `Of those who began in a ${matrix.period}, the share that came back that many ${matrix.period}s later. The mean is all who came back over all who began, over complete cells only`,
        censored
          ? `; ${plural(censored, "cohort")} of the warm-up also counted, and left out in the row below it.`
          : ".",
      ),
      matrixTable(matrix, isAll ? matrix.cohorts : matrix.cohorts.slice(-SHOWN_COHORTS)),
    );
    if (hidden > 0)
      card.append(
        el(
          "button",
          {
            type: "button",
            class: "more",
            onclick: () => {
              isAll = !isAll;
              show(matrix);
            },
          },
          isAll ? "Show fewer" : `Show ${plural(hidden, "older cohort")}`,
        ),
      );
    if (matrix.cohort_n > matrix.cohorts.length)
      card.append(
        note(
          `${plural(matrix.cohort_n - matrix.cohorts.length, "cohort")} before these count in the mean only.`,
        ),
      );
  };
  show(matrices[0]);
  return card;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const periodName = (period, [from, to]) =>
  from === to ? `${period} ${from}` : `${period}s ${from} to ${to}`;

function matrixTable(matrix, cohorts) {
  const named = matrix.period === "month" ? month : day;
  // the first period is often 100 % by definition, and a cohort of one person is 100 % at times: the means set the scale
  const high = 1.6 * Math.max(...matrix.mean.slice(1).map(([n, all]) => (all ? n / all : 0)), 0.01);
  const heat = (rate) => `${Math.round(Math.min(1, rate / high) * 64)}%`;
  const filled = (rate, title, more = "") =>
    el("td", { class: `heat ${more}`, "--heat": heat(rate), title }, share(rate));
  const meanRow = (label, mean) =>
    el(
      "tr",
      { class: "mean" },
      el("th", { scope: "row" }, label),
      el("td", { class: "number" }, ""),
      mean.map(([n, all], at) =>
        all
          ? filled(n / all, `${count(n)} of ${count(all)} in complete cells`)
          : el("td", { class: "grey late", title: "No cell is complete yet" }, NONE),
      ),
    );
  const cell = (cohort, [n, state], at) => {
    const when = periodName(matrix.period, matrix.spans[at]);
    if (!cohort.cohort_n) return el("td", { class: "grey none", title: "Nobody began in this period" }, NONE);
    if (!state)
      return el("td", { class: "grey late", title: `${when} is not over yet for all who began then` }, "");
    const rate = n / cohort.cohort_n;
    const title = `${count(n)} of ${count(cohort.cohort_n)} in ${when}${state === 2 ? ", may still grow" : ""}`;
    if (cohort.is_censored)
      return el(
        "td",
        {
          class: "grey warm",
          title: `${title}; began in the first days on record, so old customers look new`,
        },
        share(rate),
      );
    return filled(rate, title, state === 2 ? "open" : "");
  };
  const isCensored =
    matrix.cohorts.some((cohort) => cohort.is_censored) ||
    matrix.mean.some(([, all], at) => all !== matrix.mean_warm[at][1]);
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `Retention ${matrix.name}` },
    el(
      "table",
      { class: "matrix" },
      el(
        "caption",
        { class: "unseen" },
        `Retention ${matrix.name}${matrix.value === "(all)" ? "" : `, ${matrix.value}`}: share of each cohort by ${matrix.period}`,
      ),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col" }, `Began in ${matrix.period === "day" ? "" : `the ${matrix.period} of`}`),
          el("th", { scope: "col", class: "number" }, "People"),
          matrix.spans.map((periods) =>
            el("th", { scope: "col", class: "number" }, capital(periodName(matrix.period, periods))),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        meanRow("Mean, weighted", matrix.mean),
        isCensored ? meanRow("… without warm-up", matrix.mean_warm) : null,
        [...cohorts].reverse().map((cohort) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, named(cohort.start)),
            el("td", { class: "number" }, count(cohort.cohort_n)),
            cohort.cells.map((one, at) => cell(cohort, one, at)),
          ),
        ),
      ),
    ),
  );
}
