// Attribution: the same conversions credited by four rules side by side, and the ways that led to them.
const CREDITED = "credit is shared out over all of a person's visits";
const CREDITS = ["First", "Last", "Last non-direct", "Linear"];
let credited = { month: 0, isRevenue: false };

function attribution(section, state) {
  section.replaceChildren(heading("attribution", "Attribution", unfiltered(state, { source: CREDITED, device: CREDITED })));
  if (data.attribution.empty) return section.append(empty(data.attribution.empty));
  const choose = (part, focus) => {
    credited = { ...credited, ...part };
    attribution(section, state);
    section.querySelector(focus)?.focus({ preventScroll: true });
  };
  const found = data.attribution[credited.month];
  const name = month(found.month);
  const rows = found.channels.filter((one) => state.channel === ALL || one.channel === state.channel);
  const hasSpend = found.channels.some((one) => known(one.spend));
  const shown = credited.isRevenue ? "revenue" : "conversions";
  section.append(
    el(
      "div",
      { class: "card" },
      cardHead(
        `Credit by channel, ${name}`,
        el(
          "div",
          { class: "place-controls" },
          select(
            "Month",
            data.attribution.map((one, at) => [String(at), month(one.month)]),
            String(credited.month),
            (at) => choose({ month: Number(at) }, "select"),
          ),
          pressed(
            "Measure",
            [
              ["conversions", "Conversions"],
              ["revenue", "Revenue"],
            ],
            shown,
            (key) => choose({ isRevenue: key === "revenue" }, `[data-choice="${key}"]`),
          ),
        ),
      ),
      note(
        "Each rule shares out the same conversions; columns differ only in who gets the credit.",
        hasSpend && !found.is_complete ? " This month is not over, so it has no return on spend yet." : "",
        hasSpend ? "" : " No spend is known for this month: send Ad Spend events, and their return appears.",
        found.unconverted_n ? ` ${plural(found.unconverted_n, "spend event")} in a currency without a rate left out.` : "",
      ),
      table(
        `${capital(shown)} by channel and rule, ${name}`,
        [
          { label: "Channel", cell: (row) => outside(row.channel) },
          ...CREDITS.map((label, at) => ({
            label,
            number: true,
            text: (row) => (credited.isRevenue ? money(row.revenue[at]) : measure(row.conversions[at])),
          })),
          { label: "Spend", number: true, cell: (row) => (known(row.spend) ? money(row.spend) : untracked()) },
          {
            label: "Return, linear",
            number: true,
            cell: (row) =>
              known(row.roas)
                ? `${tenth.format(row.roas)}×`
                : el("span", { class: "untracked" }, !hasSpend || !row.spend ? "no spend" : "not over"),
          },
        ],
        rows,
        { className: "dense" },
      ),
      rows.length ? null : note(`No credit of ${name} goes to ${state.channel}.`),
    ),
    ...[
      ["converted", "Ways to a conversion", "No conversion has a way on record in this month."],
      ["not_converted", "Ways to nothing", "No way that ended in this month is known to have come to nothing; within the lookback a conversion may still follow."],
    ].map(([outcome, title, none]) => {
      const rows = found.paths?.[outcome] ?? [];
      return el(
        "div",
        { class: "card" },
        cardHead(`${title}, ${name}`),
        rows.length
          ? table(
              `${title}, ${name}: the commonest`,
              [
                { label: "Channels in order", cell: ([path]) => outside(path) },
                { label: "Times", number: true, text: ([, n]) => count(n) },
              ],
              rows,
              { className: "dense" },
            )
          : empty(found.paths ? none : "The published file has no marts.attribution_paths yet: build and publish."),
      );
    }),
  );
}
