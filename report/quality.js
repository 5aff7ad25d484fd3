// How fresh and how sound the numbers are, what is left out, and what changed since.
function quality(section) {
  section.replaceChildren(heading("quality", "Freshness and quality"));
  const { checks, definitions, restatements, restatement_groups, restatement_n, dictionary, bots, missing } = data.quality;
  const build = data.build;
  const failed = checks.filter((check) => check.is_ok === false).length;
  const fact = (name, value, title) => el("div", {}, el("dt", {}, name), el("dd", { title }, value));
  const lag = build.horizon ? (new Date(data.written_at) - new Date(build.horizon)) / 1000 : null;
  section.append(
    el(
      "div",
      { class: "card" },
      el(
        "dl",
        { class: "facts" },
        fact("Times are in", data.site.timezone),
        fact("Data to", instant(build.horizon), "Everything received before has landed"),
        fact("Behind at writing", known(lag) && lag >= 0 ? duration(lag) : NONE),
        fact("Landed batches", build.landed_to ? plainNumber(build.landed_to) : NONE),
        fact("Built", instant(build.built_at)),
        fact("Report written", instant(data.written_at)),
        fact("Version", build.version ?? NONE),
        fact("Definitions", (build.definitions_hash ?? NONE).slice(0, 12), build.definitions_hash),
        fact("Build", build.build_id ?? NONE),
      ),
      el(
        "ul",
        { class: "left-out" },
        bots?.session_n
          ? el(
              "li",
              {},
              `Bots are left out of every number above: ${plural(bots.bot_session_n, "session")} (${share(bots.bot_session_n / bots.session_n)}) and ${plural(bots.bot_page_view_n, "page view")} (${share(bots.bot_page_view_n / (bots.page_view_n || 1))}) of what was seen.`,
            )
          : null,
        el(
          "li",
          {},
          "Events that carry neither a device nor a person are kept and counted below, but are in no visitor, session or funnel.",
        ),
        el(
          "li",
          {},
          "Incomplete days, open funnel windows and cohort periods that are not over are never shown as a rate.",
        ),
        data.period?.is_cut
          ? el("li", {}, `Older dates are on record; this report shows those from ${day(data.period.first)}.`)
          : null,
      ),
    ),
    el(
      "div",
      { class: "card" },
      cardHead(
        "Checks",
        checks.length
          ? el(
              "span",
              { class: `badge ${failed ? "bad" : "good"}` },
              failed ? `${plural(failed, "check")} failed` : "all passed",
            )
          : null,
      ),
      checks.length
        ? table(
            `Checks of the last build`,
            [
              {
                label: "Check",
                cell: (row) =>
                  el(
                    "span",
                    { class: "named" },
                    el(
                      "span",
                      { class: `badge ${row.is_ok === false ? "bad" : row.is_ok ? "good" : "plain"}` },
                      row.is_ok === false ? "failed" : row.is_ok ? "ok" : "count",
                    ),
                    outside(row.check_name),
                  ),
              },
              { label: "Value", number: true, cell: (row) => outside(plainNumber(row.value)) },
              { label: "Expected", number: true, cell: (row) => outside(plainNumber(row.expected)) },
            ],
            checks,
            { className: "dense" },
          )
        : empty(missing.checks ?? "No check has run yet: build and publish, and they appear here."),
      definitions.length
        ? table(
            "Definitions that nothing comes of",
            [
              { label: "Definition", cell: (row) => outside([row.section, row.name].filter(Boolean).join(" ")) },
              { label: "Place", text: (row) => row.place },
              { label: "Pattern", cell: (row) => el("code", {}, outside(row.pattern)) },
              { label: "What is wrong", text: (row) => row.problem },
            ],
            definitions,
            { visible: true, className: "dense" },
          )
        : "",
    ),
    el(
      "div",
      { class: "card" },
      cardHead(
        "Numbers that changed after they were complete",
        restatement_n ? el("span", { class: "badge plain" }, count(restatement_n)) : null,
      ),
      ...(restatements.length
        ? [
            table(
              "Restatements by build, newest first",
              [
                { label: "Table", cell: (row) => outside(row.table_name) },
                { label: "Why", cell: (row) => outside(row.why ?? NONE) },
                { label: "Numbers", number: true, text: (row) => count(row.number_n) },
                { label: "Data to", number: true, text: (row) => instant(row.restated_at) },
              ],
              restatement_groups,
              { className: "dense" },
            ),
            el(
              "details",
              { class: "twin" },
              el("summary", {}, `Show the newest ${count(restatements.length)} numbers`),
              table(
                `Newest ${count(restatements.length)} of ${plural(restatement_n, "restated number")}`,
                [
                  { label: "Table", cell: (row) => outside(row.table_name) },
                  { label: "Row", cell: (row) => outside(row.key, { class: "clip" }) },
                  { label: "Column", cell: (row) => outside(row.column_name) },
                  { label: "Was", number: true, cell: (row) => outside(plainNumber(row.was)) },
                  { label: "Now", number: true, cell: (row) => outside(plainNumber(row.now)) },
                ],
                restatements,
                { className: "dense" },
              ),
            ),
          ]
        : [empty(missing.restatements ?? "None: no published, complete number has changed since.")]),
    ),
    dictionary.length
      ? el(
          "div",
          { class: "card" },
          el(
            "details",
            {},
            el("summary", {}, `What the published columns mean (${count(dictionary.length)})`),
            table(
              "Columns of the marts",
              [
                { label: "Table", text: (row) => row.table_name },
                { label: "Column", cell: (row) => el("code", {}, row.column_name) },
                { label: "Meaning", text: (row) => row.description },
              ],
              dictionary,
              { className: "dense words" },
            ),
          ),
        )
      : "",
  );
}

function plainNumber(text) {
  if (text === null || text === undefined) return NONE;
  return /^-?\d+(\.\d+)?$/.test(text)
    ? new Intl.NumberFormat("en-GB", { maximumFractionDigits: 4 }).format(Number(text))
    : text;
}

// the definitions of a section of footfall.toml that nothing comes of, by name
const troubled = (section) => [
  ...new Set(data.quality.definitions.filter((row) => row.section === section).map((row) => row.name)),
];

// why nothing comes of a definition, as part of a sentence; empty if something does
const nothingComes = (section, name) =>
  data.quality.definitions
    .filter((row) => row.section === section && row.name === name)
    .map((row) => `${row.place} is "${row.pattern}", ${row.problem}`)
    .join("; ");
