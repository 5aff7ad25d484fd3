// Errors that nobody caught: what, where, and a hash that is the same for the same fault.
import type { Door } from "../door";

const door: Door = window.footfall._;
const MOST = 20;
let told = new Set<string>();

/** Without mail addresses, long numbers, tokens, and what stands behind a ? in an address. */
const clean = (text: string): string =>
  text
    .slice(0, 2000)
    .replace(/[^\s@"'<>(]+@[^\s@"'<>)]+\.\w+/g, ":mail")
    .replace(/(https?:[^\s?#"']*)[?#][^\s"')]*/g, "$1")
    .replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]*|\b(?:sk|pk|ghp|xox[abp])[_-]\w{16,}/g, ":token")
    .replace(/\+?\d(?:[ ().-]?\d){6,}/g, ":number")
    .slice(0, 500);

/** FNV-1a, 64 bits as two halves, of the message with its digits as 0. */
const hashOf = (text: string): string => {
  const half = (hash: number): string => {
    for (const each of text) hash = Math.imul(hash ^ each.codePointAt(0)!, 0x01000193);
    return (hash >>> 0).toString(16).padStart(8, "0");
  };
  return half(0x811c9dc5) + half(0x050c5d1f);
};

const raised = (event: ErrorEvent & PromiseRejectionEvent): void => {
  // A picture that does not load is an error event too, without a message.
  if (event.type === "error" && !event.message) return;
  const thrown: unknown = event.error || event.reason;
  const error = thrown instanceof Error ? thrown : undefined;
  const message = clean(error?.message || event.message || String(thrown));
  const hash = hashOf(message.replace(/\d/g, "0"));
  if (told.has(hash) || told.size >= MOST) return;
  told.add(hash);
  door.track_("Error Raised", {
    message,
    message_hash: hash,
    kind: (error?.name || typeof thrown).slice(0, 100),
    handled: false,
    file: event.filename && clean(event.filename),
    line: event.lineno,
    column: event.colno,
  }, Date.now() - Math.round(performance.now() - event.timeStamp));
};

door.listen_(window, "error unhandledrejection", raised);
door.on_("view", () => {
  told = new Set();
});
// Those that came before this part.
door.early_.splice(0).forEach((event) => door.safe_(raised)(event as ErrorEvent & PromiseRejectionEvent));
