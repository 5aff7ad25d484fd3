// How far a page view is scrolled, and how long it is looked at: visible and with the focus, by scroll position.
import { listen, share } from "./safe";

const enum Limit {
  shortest_ms = 200,
  intervals = 100,
}

type Report = (name: string, properties: Record<string, unknown>) => void;

let spent: { scroll_y: number; ms: number }[] = [];
let engaged_ms = 0;
let since = 0;
let isOn = false;
let isFocused = document.hasFocus();
let y = 0;
let lowest = 0;
let tallest = 0;
let told = "";

const now = (): number => Math.round(performance.now());

const close = (): void => {
  const at = now();
  if (isOn && at > since) {
    engaged_ms += at - since;
    const last = spent[spent.length - 1];
    if (last && (last.scroll_y === y || spent.length === Limit.intervals)) last.ms += at - since;
    else spent.push({ scroll_y: y, ms: at - since });
  }
  since = at;
};

const look = (): void => {
  close();
  isOn = isFocused && !document.hidden;
};

const measure = (): void => {
  lowest = Math.max(lowest, Math.round(scrollY + innerHeight));
  tallest = Math.max(tallest, document.documentElement.scrollHeight);
};

/** Reports what is new since the last report of this page view; `more`: what the parts know of its scrolling. */
export const tell = (report: Report, isLeaving: boolean, more: object): void => {
  look();
  measure();
  const scroll_max_pct = share(lowest, tallest, 100);
  if (engaged_ms) report("Engaged", { engaged_ms, intervals: spent, scroll_max_pct });
  spent = [];
  engaged_ms = 0;
  const toTell = scroll_max_pct + JSON.stringify(more);
  if (toTell === told) return;
  told = toTell;
  report("Scroll Reached", { scroll_max_pct, scroll_max_px: Math.min(lowest, tallest), ...more, page_leave: isLeaving });
};

/** A new page view begins. What is seen is measured later: a route is scrolled to its top after its address changed. */
export const begin = (): void => {
  spent = [];
  engaged_ms = 0;
  y = Math.round(scrollY);
  lowest = tallest = 0;
  told = "";
  look();
};

export const watch = (): void => {
  listen(window, "focus blur", (event) => {
    if (event.target !== window) return;
    isFocused = event.type === "focus";
    look();
  });
  listen(document, "visibilitychange", look);
  listen(document, "scroll", (event) => {
    if (event.target !== document) return;
    // While it moves, the time goes to where it comes to rest.
    if (now() - since >= Limit.shortest_ms) close();
    y = Math.round(scrollY);
    measure();
  });
};
