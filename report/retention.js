// Retention: one row a cohort, one column a period after; grey says why there is no number.
const KEPT_BY_COHORT =
  "people belong to no single one; a breakdown in the [[retention]] of footfall.toml splits them";
const SHOWN_COHORTS = 16;
const FEW_PEOPLE = 10;

function retention(section, state) {
  section.replaceChildren(heading("retention", "Retention", unfiltered(state, { source: KEPT_BY_COHORT, channel: KEPT_BY_COHORT, device: KEPT_BY_COHORT })));
  if (data.retention.empty) return section.append(empty(data.retention.empty));
  for (const name of new Set(data.retention.map((one) => one.name)))
    section.append(retentionCard(data.retention.filter((one) => one.name === name), state));
}

const MEASURES = [
  ["people", "Came back"],
  ["value", "Value kept"],
  ["member", "Value a head"],
];
const SAYS = {
  people: (period) => `the share that came back that many ${period}s later.`,
  value: (period) =>
    `what they brought that many ${period}s later as a share of their first ${period}: their returns, or the sum that "value" in the [[retention]] names.`,
  member: (period) =>
    `what each of them brought that many ${period}s later on average: returns, or the sum that "value" in the [[retention]] names.`,
};

function retentionCard(matrices, state) {
  // a range shorter than a cohort takes to return would leave only cells that are not over
  const range = data.period ? rangeOf(state) : null;
  const isOfAll = !range || presets.some(({ key }) => key === state.range);
  const card = el("div", { class: "card" });
  let isAll = false;
  let shown = "people";
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
    const inRange = matrix.cohorts.filter(
      (cohort) => isOfAll || (lastDay(cohort.start, matrix.period) >= range.since && cohort.start <= range.until),
    );
    const hidden = inRange.length - SHOWN_COHORTS;
    card.replaceChildren(
      cardHead(
        outside(matrix.name),
        el(
          "span",
          { class: "legend" },
          el("span", {}, el("i", { class: "swatch late" }), "not over yet"),
          el("span", {}, el("i", { class: "swatch warm" }), "warm-up: old customers look new"),
          el("span", {}, el("i", { class: "swatch none" }), "nobody began"),
          el("span", {}, el("i", { class: "swatch few" }), `fewer than ${FEW_PEOPLE} began`),
        ),
        el(
          "span",
          { class: "place-controls" },
          beside,
          pressed("Measure", MEASURES, shown, (key) => {
            shown = key;
            show(matrix);
            card.querySelector(`[data-choice="${key}"]`)?.focus({ preventScroll: true });
          }),
        ),
      ),
      note(
        `Of those who began in a ${matrix.period}, ${SAYS[shown](matrix.period)} The mean is over complete cells only`,
        censored
          ? `; ${plural(censored, "cohort")} of the warm-up also counted, and left out in the row below it.`
          : ".",
      ),
      matrixTable({ ...matrix, cohorts: inRange }, isAll ? inRange : inRange.slice(-SHOWN_COHORTS), shown),
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

// a grey cell says in words why it is grey, to who sees it and to who hears it
const grey = (kind, title, shown, said = title) =>
  el("td", { class: `grey ${kind}`, title }, shown, el("span", { class: "unseen" }, ` ${said}`));

function matrixTable(matrix, cohorts, shown) {
  if (!cohorts.length) return empty("No cohort began in these dates: choose a longer range.");
  const part = { people: ([n]) => n, value: ([, , value]) => value, member: ([, , value]) => value }[shown];
  const whole = { people: (begun) => begun.cohort_n, value: (begun) => begun.cells[0][2], member: (begun) => begun.cohort_n }[shown];
  const meanOf = { people: ([n, all]) => [n, all], value: ([, , v, first]) => [v, first], member: ([, all, v]) => [v, all] }[shown];
  const write = shown === "member" ? (x) => (x < 10 ? hundredth.format(x) : count(x)) : share;
  const means = matrix.mean.map(meanOf);
  const warm = matrix.mean_warm.map(meanOf);
  const named = matrix.period === "month" ? month : day;
  // the first period is often 100 % by definition, and a cohort of one person is 100 % at times: the means set the scale
  const high = 1.6 * Math.max(...means.slice(1).map(([n, all]) => (all ? n / all : 0)), 0.01);
  const heat = (rate) => `${Math.round(Math.min(1, rate / high) * 64)}%`;
  const filled = (rate, title, more = "") =>
    el("td", { class: `heat ${more}`, "--heat": heat(rate), title }, write(rate));
  const meanRow = (label, mean) =>
    el(
      "tr",
      { class: "mean" },
      el("th", { scope: "row" }, label),
      el("td", { class: "number" }, ""),
      mean.map(([n, all], at) =>
        all
          ? filled(n / all, `${measure(n)} by ${measure(all)} in complete cells`)
          : grey("late", "No cell is complete yet", NONE),
      ),
    );
  const cell = (cohort, found, at) => {
    const [n, state] = found;
    const when = periodName(matrix.period, matrix.spans[at]);
    if (!cohort.cohort_n) return grey("none", "Nobody began in this period", NONE);
    if (!state)
      return grey("late", `${when} is not over yet for all who began then`, "", "not over yet");
    if (!known(part(found)) || !whole(cohort))
      return grey("none", "Nothing to compare with: the first period has no value", NONE);
    const rate = part(found) / whole(cohort);
    const title = `${shown === "people" ? count(n) : measure(part(found))} ${shown === "people" ? "of" : "by"} ${measure(whole(cohort))} in ${when}${state === 2 ? ", may still grow" : ""}`;
    if (cohort.is_censored)
      return grey(
        "warm",
        `${title}; began in the first days on record, so old customers look new`,
        write(rate),
        "warm-up",
      );
    if (cohort.cohort_n < FEW_PEOPLE)
      return grey("few", `${title}; so few people are single stories, not a rate`, write(rate), "too few");
    return filled(rate, title, state === 2 ? "open" : "");
  };
  const isCensored =
    matrix.cohorts.some((cohort) => cohort.is_censored) ||
    means.some(([, all], at) => all !== warm[at][1]);
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
        meanRow("Mean, weighted", means),
        isCensored ? meanRow("… without warm-up", warm) : null,
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
