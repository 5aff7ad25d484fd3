// Where sessions come from: channels over time and in sums, devices, countries.
const COUNTRIES = "countries are summed by source only";
const mark = (colour) => el("i", { class: "dot", "--colour": colour });

function channels(section, state) {
  section.replaceChildren(heading("channels", "Channels"));
  if (data.channels.empty) return section.append(empty(data.channels.empty));
  const range = rangeOf(state);
  const sums = { channel: sumsBy("channel", state, range), device: sumsBy("device", state, range) };
  const whole = prepared(state);
  const trend = trendOf(state);
  if (!sums.channel.length)
    return section.append(
      empty(
        `No session began in ${span(range.since, range.until)}: choose a longer range${isCut(state) ? " or another channel or device" : ""}.`,
      ),
    );
  const colourOf = (name) => {
    const at = trend.channels.indexOf(name);
    return `var(--series-${at < 0 || name === "(other)" ? 8 : at + 1})`;
  };
  const dayNo = (on) => (asDate(on) - asDate(data.period.first)) / 86400000;
  const points = pointsOf(range);
  const skip = dayNo(range.since);
  const sessions = trend.sessions.map((daily) => {
    const found = points.starts.map(() => 0);
    for (let n = 0; n < daysOf(range); n += 1) if (points.placeOf(n) >= 0) found[points.placeOf(n)] += daily[skip + n];
    return found;
  });
  section.append(
    el(
      "div",
      { class: "card" },
      cardHead(`Sessions by channel and ${points.name}`),
      el(
        "div",
        { class: "legend" },
        trend.channels.map((name) => el("span", {}, mark(colourOf(name)), outside(name))),
      ),
      points.says ? note(points.says) : null,
      chart(`Sessions by channel and ${points.name}`, 240, (colours) => ({
        grid: plot(),
        xAxis: { ...categories(colours, points.starts, dayShort), boundaryGap: true },
        yAxis: values(colours, (n) => tick.format(n), { minInterval: 1 }),
        tooltip: {
          ...tip(colours, ([{ dataIndex }]) =>
            tipBox(points.title(dataIndex), [
              ...trend.channels
                .map((name, at) => [
                  name,
                  sessions[at][dataIndex],
                  colours.series[name === "(other)" ? 7 : at],
                ])
                .filter(([, n]) => n)
                .sort((a, b) => b[1] - a[1])
                .map(([name, n, colour]) => [name, count(n), colour]),
              ["All", count(sessions.reduce((n, one) => n + one[dataIndex], 0))],
            ]),
          ),
          axisPointer: { type: "shadow", shadowStyle: { color: colours.faint, opacity: 0.15 } },
        },
        series: trend.channels.map((name, at) => ({
          type: "bar",
          stack: "all",
          data: sessions[at],
          barCategoryGap: "18%",
          barMaxWidth: 34,
          itemStyle: { color: colours.series[name === "(other)" ? 7 : at] },
          emphasis: { disabled: true },
        })),
      })),
      twin(
        `Sessions by channel and ${points.name}, newest first`,
        [
          {
            label: points.label,
            text: (at) => day(points.starts[at]),
          },
          ...trend.channels.map((name, of) => ({
            label: name,
            number: true,
            text: (at) => count(sessions[of][at]),
          })),
        ],
        points.starts.map((_, at) => at).reverse(),
      ),
    ),
    el("div", { class: "card" }, breakdown("Channel", sums.channel, range, colourOf, true)),
    el(
      "div",
      { class: "pair" },
      el("div", { class: "card" }, breakdown("Device", sums.device, range)),
      el("div", { class: "card" }, 
        breakdown("Country", data.channels.countries[state.source][whole.key], whole),
        unfiltered(state, { channel: COUNTRIES, device: COUNTRIES, range: PREPARED }) ?? "",
      ),
    ),
  );
}

function breakdown(name, rows, range, colourOf, isWhole = false) {
  const all = rows.reduce((n, row) => n + row.session_n, 0);
  const most = Math.max(...rows.map((row) => row.session_n), 1);
  const rate = (part, whole, of = "session") => {
    if (!data.period.complete) return without("not over", "no date is over yet");
    return whole ? share(part / whole) : without(`no ${of}`, "none in a session that is over, so there is no rate");
  };
  return table(
    `${name === "Country" ? "Countries" : `${name}s`}, ${span(range.since, range.until)}`,
    [
      {
        label: name,
        cell: (row) =>
          el(
            "span",
            { class: "named" },
            colourOf ? mark(colourOf(row.value)) : null,
            outside(
              row.value,
              row.value === "(none)"
                ? { title: "Not known, or orders and refunds that stand in no session" }
                : {},
            ),
          ),
      },
      {
        label: "Sessions",
        number: true,
        cell: (row) =>
          el(
            "span",
            {
              class: "bar-cell",
              "--share": `${(row.session_n / most) * 100}%`,
              "--colour": colourOf ? colourOf(row.value) : null,
            },
            el("span", {}, count(row.session_n)),
          ),
      },
      { label: "Share", number: true, text: (row) => share(row.session_n / all) },
      ...(range.before_since
        ? [
            {
              label: "Change",
              number: true,
              cell: (row) => {
                if (!row.before_n && !row.session_n) return without("none", "no session now and none before");
                return delta(row.before_n ? change(row.session_n, row.before_n) : ["new", "same"]);
              },
            },
          ]
        : []),
      ...(isWhole
        ? [
            {
              label: "Engaged",
              number: true,
              cell: (row) => rate(row.engaged_session_n, row.closed_session_n),
            },
            { label: "Bounce", number: true, cell: (row) => rate(row.bounce_n, row.page_session_n, "page view") },
          ]
        : []),
      {
        label: "Conversion",
        number: true,
        cell: (row) => rate(row.converted_session_n, row.closed_session_n),
      },
      ...(isWhole ? [{ label: "Orders", number: true, text: (row) => count(row.order_n) }] : []),
      { label: "Revenue", number: true, text: (row) => money(row.revenue_amt) },
    ],
    rows,
    { visible: true, className: "dense" },
  );
}
