// Numbers and dates as this report writes them, everywhere the same.
const data = JSON.parse(document.getElementById("data").textContent);
const NONE = "–";
const integer = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-GB", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const hundredth = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 2 });
const three = { notation: "compact", minimumSignificantDigits: 3, maximumSignificantDigits: 3 };
const short = new Intl.NumberFormat("en-GB", three);
const tick = new Intl.NumberFormat("en-GB", { notation: "compact", maximumSignificantDigits: 3 });
const moneyFormat = (options) => {
  try {
    return new Intl.NumberFormat("en-GB", {
      style: "currency",
      currency: data.site.currency,
      currencyDisplay: "narrowSymbol",
      ...options,
    });
  } catch {
    return new Intl.NumberFormat("en-GB", options.notation ? options : { maximumFractionDigits: 0 });
  }
};
const whole = moneyFormat({ maximumFractionDigits: 0 });
const compactMoney = moneyFormat(three);
const tickMoney = moneyFormat({ notation: "compact", maximumSignificantDigits: 3 });
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

const count = (n) => (known(n) ? integer.format(n) : NONE);
const compact = (n) => (!known(n) ? NONE : Math.abs(n) < 10000 ? integer.format(n) : short.format(n));
const money = (n) => (known(n) ? whole.format(n) : NONE);
const moneyShort = (n) => (!known(n) ? NONE : Math.abs(n) < 10000 ? whole.format(n) : compactMoney.format(n));
const share = (x) => (known(x) ? `${tenth.format(x * 100)} %` : NONE);
// on an axis: as short as it goes
const shareShort = (x) =>
  `${Number.isInteger(Math.round(x * 1e4) / 100) ? integer.format(x * 100) : tenth.format(x * 100)} %`;
const bounds = (low, high) =>
  known(low) ? `${tenth.format(low * 100)} – ${tenth.format(high * 100)} %` : NONE;
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

function duration(seconds) {
  if (!known(seconds)) return NONE;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${String(s % 60).padStart(2, "0")} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} m`;
  return `${tenth.format(s / 86400)} d`;
}

// dates are calendar days: read and written as UTC, so that the reader's own zone moves none of them
const asDate = (text) => new Date(`${text}T00:00:00Z`);
const inForm = (options) => {
  const form = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
  // "Sept" alone among the months has four letters
  return (text) => form.format(asDate(text)).replace("Sept", "Sep");
};
const day = inForm({ day: "numeric", month: "short", year: "numeric" });
const dayShort = inForm({ day: "numeric", month: "short" });
const weekday = inForm({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const month = inForm({ month: "short", year: "numeric" });
const span = (since, until) =>
  since === until
    ? day(since)
    : `${since.slice(0, 4) === until.slice(0, 4) ? dayShort(since) : day(since)} – ${day(until)}`;
const addDays = (text, n) => new Date(asDate(text).getTime() + n * 86400000).toISOString().slice(0, 10);

function instant(text) {
  if (!text) return "unknown";
  const options = {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  };
  try {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: data.site.timezone }).format(
      new Date(text),
    );
  } catch {
    return `${new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" }).format(new Date(text))} UTC`;
  }
}
