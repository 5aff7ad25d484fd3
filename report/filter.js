// Filters: what is chosen, what it means for each picture, and the sums of what is left.
const PRESETS = { 7: "7 days", 28: "28 days", 90: "90 days", all: "All" };
const CUSTOM = /^(\d{4}-\d\d-\d\d)\.\.(\d{4}-\d\d-\d\d)$/;
const ALL = "(all)";
const CHOICES = {
  source: data.sources.length > 1 ? data.sources : [ALL],
  channel: [ALL, ...(data.cube?.channels ?? [])],
  device: [ALL, ...(data.cube?.devices ?? [])],
};
const lastDate = data.period?.complete ?? data.period?.last;
const presets = data.period?.ranges ?? [];
const isCut = (state) => state.channel !== ALL || state.device !== ALL;

// the dates of a choice, with the equally long ones before them where all of those are on record
function rangeOf(state) {
  const preset = presets.find((one) => one.key === state.range);
  if (preset) return preset;
  const [, since, until] = CUSTOM.exec(state.range);
  const before = addDays(since, -daysOf({ since, until }));
  const isWhole = data.period.complete && before >= data.period.first;
  return {
    key: state.range,
    since,
    until,
    before_since: isWhole ? before : null,
    before_until: isWhole ? addDays(since, -1) : null,
  };
}

const daysOf = ({ since, until }) => (asDate(until) - asDate(since)) / 86400000 + 1;

// a custom range is right if it is one and lies on record
function isRange(key) {
  if (presets.some((one) => one.key === key)) return true;
  const found = CUSTOM.exec(key);
  if (!found || !data.period) return false;
  const [, since, until] = found;
  const isDay = (text) => !Number.isNaN(asDate(text).getTime()) && addDays(text, 0) === text;
  return isDay(since) && isDay(until) && data.period.first <= since && since <= until && until <= lastDate;
}

// pictures that are kept for the prepared ranges only: the shortest that holds the chosen dates
function prepared(state) {
  const chosen = rangeOf(state);
  if (presets.includes(chosen)) return chosen;
  return presets.find(({ since, until }) => since <= chosen.since && chosen.until <= until) ?? presets.at(-1);
}

// which of the chosen filters a picture cannot follow, and why; `reasons` has a sentence by filter
function unfiltered(state, reasons) {
  const words = [];
  const why = new Map();
  for (const name of ["source", "channel", "device"])
    if (reasons[name] && state[name] !== ALL) why.set(reasons[name], [...(why.get(reasons[name]) ?? []), name]);
  for (const [reason, names] of why)
    words.push(`All ${names.map((name) => `${name}s`).join(" and ")} together: ${reason}.`);
  if (reasons.range && data.period) {
    const range = prepared(state);
    if (range.key !== state.range)
      words.push(`Shows ${span(range.since, range.until)}: ${reasons.range}.`);
  }
  return words.length ? el("p", { class: "note unfiltered" }, words.join(" ")) : null;
}
const PREPARED = "kept for the last 7, 28 and 90 days and for all dates, not for every span";

const indexIn = (list, value) => (value === ALL ? -1 : list.indexOf(value));
const isIn = (wanted, found) => wanted < 0 || wanted === found;

// the chosen source, channel and device as the cube numbers them, -1 for all
const chosenIn = (state) => [
  data.sources.length > 1 ? indexIn(data.cube.sources, state.source) : -1,
  indexIn(data.cube.channels, state.channel),
  indexIn(data.cube.devices, state.device),
];

// rows of the cube that the choice leaves
function kept(state) {
  const [s, c, d] = chosenIn(state);
  return data.cube.rows.filter((row) => isIn(s, row[0]) && isIn(c, row[1]) && isIn(d, row[2]));
}

// daily, weekly or monthly series of the choice, in the shape of the overview's
function seriesOf(state, grain) {
  const base = data.overview.series[state.source][grain];
  if (!isCut(state) || !data.cube) return base;
  const { first, names, visitors } = data.cube;
  const at = new Map(base.starts.map((start, place) => [start, place]));
  const found = Object.fromEntries(names.map((name) => [name, base.starts.map(() => 0)]));
  const placeOf = inGrain(grain, first);
  for (const [, , , days, ...lists] of kept(state))
    days.forEach((n, row) => {
      const place = at.get(placeOf(n));
      if (place !== undefined) names.forEach((name, of) => (found[name][place] += lists[of][row]));
    });
  const [s, c, d] = chosenIn(state).map((n) => (n < 0 ? "" : n));
  const people = visitors?.[grain];
  const seen = people && new Map(people.starts.map((start, place) => [start, place]));
  const series = people?.series[`${s}|${c}|${d}`];
  const visitor_n = base.starts.map((start) => (people ? (series?.[seen.get(start)] ?? 0) : null));
  return { ...found, starts: base.starts, is_complete: base.is_complete, visitor_n };
}

// number of a day since `first` to the start of the day, week or month that holds it
function inGrain(grain, first) {
  const made = [];
  return (n) =>
    (made[n] ??= (() => {
      const on = addDays(first, n);
      if (grain === "month") return `${on.slice(0, 8)}01`;
      return grain === "week" ? addDays(on, -((asDate(on).getUTCDay() + 6) % 7)) : on;
    })());
}

// sums by channel or by device over the range and the one before it, most sessions first
function sumsBy(dimension, state, range) {
  const { names, first } = data.cube;
  const found = new Map();
  const place = { channel: 1, device: 2 }[dimension];
  const day = (text) => (text ? (asDate(text) - asDate(first)) / 86400000 : NaN);
  const [since, until] = [day(range.since), day(range.until)];
  const [beforeSince, beforeUntil] = [day(range.before_since), day(range.before_until)];
  const sessions = names.indexOf("session_n");
  for (const row of kept(state)) {
    const value = data.cube[`${dimension}s`][row[place]];
    const sum = found.get(value) ?? { value, before_n: 0, ...Object.fromEntries(names.map((name) => [name, 0])) };
    found.set(value, sum);
    row[3].forEach((n, at) => {
      if (n >= since && n <= until) names.forEach((name, of) => (sum[name] += row[4 + of][at]));
      else if (n >= beforeSince && n <= beforeUntil) sum.before_n += row[4 + sessions][at];
    });
  }
  return [...found.values()]
    .filter((sum) => sum.session_n || sum.order_n || sum.revenue_amt || sum.page_view_n)
    .sort((a, b) => b.session_n - a.session_n || (a.value < b.value ? -1 : 1));
}

// The points of a chart over these dates: more than MOST_POINTS are a blur, then seven days make one, counted back from
// the last date. `placeOf(n)` is the point of the n-th date (none: below 0), `says` what a reader has to know of it.
const MOST_POINTS = 120;
function pointsOf({ since, until }) {
  const days = daysOf({ since, until });
  const size = days > MOST_POINTS ? 7 : 1;
  const left = days % size;
  const starts = Array.from({ length: (days - left) / size }, (_, at) => addDays(since, left + at * size));
  return {
    name: size === 1 ? "day" : "week",
    label: size === 1 ? "Date" : "Seven days from",
    starts,
    placeOf: (n) => Math.floor((n - left) / size),
    title: (at) => (size === 1 ? weekday(starts[at]) : span(starts[at], addDays(starts[at], 6))),
    says:
      size === 1
        ? ""
        : ` By week, as a point a day over so long would be a blur: seven days each, counted back from ${day(until)}${left ? `, so the first ${plural(left, "day")} ${left === 1 ? "is" : "are"} not drawn` : ""}.`,
  };
}

// sessions by date of the largest channels; the rest is (other)
const TREND_CHANNELS = 7;
function trendOf(state) {
  const { first, channels, names } = data.cube;
  const length = daysOf({ since: data.period.first, until: lastDate });
  const skip = (asDate(data.period.first) - asDate(first)) / 86400000;
  const sessions = names.indexOf("session_n");
  const daily = channels.map(() => new Array(length).fill(0));
  for (const row of kept(state))
    row[3].forEach((n, at) => {
      if (n >= skip && n - skip < length) daily[row[1]][n - skip] += row[4 + sessions][at];
    });
  const size = (list) => list.reduce((a, b) => a + b, 0);
  const ranked = channels
    .map((name, at) => [name, daily[at], size(daily[at])])
    .filter(([, , n]) => n)
    .sort((a, b) => (a[0] === "(other)") - (b[0] === "(other)") || b[2] - a[2]);
  const shown = ranked.filter(([name]) => name !== "(other)").slice(0, TREND_CHANNELS);
  const rest = ranked.filter((one) => !shown.includes(one));
  if (rest.length)
    shown.push([
      "(other)",
      rest.map(([, list]) => list).reduce((sum, list) => sum.map((n, at) => n + list[at])),
    ]);
  return { channels: shown.map(([name]) => name), sessions: shown.map(([, list]) => list) };
}

// the choice in the address, so that a view can be kept and passed on
const KEPT = ["range", "source", "channel", "device", "metric", "grain"];
function toHash(state, at) {
  const asked = new URLSearchParams();
  if (at) asked.set("at", at);
  for (const name of KEPT) if (state[name] !== STATE[name]) asked.set(name, state[name]);
  return asked.size ? `#${asked}` : "";
}

// the choice that an address names: [state, section, what it names that this report does not have]
function fromHash(hash) {
  const text = hash.replace(/^#/, "");
  if (text && !text.includes("=")) return [{ ...STATE }, text, []];
  const asked = new URLSearchParams(text);
  const state = { ...STATE };
  const unknown = [];
  const allowed = {
    range: isRange,
    metric: (key) => METRICS.some((one) => one.key === key),
    grain: (key) => GRAINS.some(([one]) => one === key),
  };
  for (const name of KEPT) {
    const value = asked.get(name);
    if (value === null) continue;
    if (allowed[name] ? allowed[name](value) : CHOICES[name].includes(value)) state[name] = value;
    else unknown.push(`${name} ${value}`);
  }
  return [state, asked.get("at"), unknown];
}

const STATE = {
  range: presets.some((one) => one.key === "28") ? "28" : presets.at(-1)?.key,
  source: ALL,
  channel: ALL,
  device: ALL,
  metric: "visitors",
  grain: null,
};
