// How far a page view is scrolled, and how long it is looked at: visible and with the focus, by scroll position.
import { listen } from "./safe";

const SHORTEST_MS = 200;
const REVERSAL_PX = 100;
const MOST_INTERVALS = 100;

type Report = (name: string, properties: Record<string, unknown>) => void;

let spent: { scroll_y: number; ms: number }[] = [];
let since = 0;
let isOn = false;
let isFocused = document.hasFocus();
let y = 0;
let lowest = 0;
let tallest = 0;
let reversals = 0;
let direction = 0;
let turn = 0;
let told = "";

const now = (): number => Math.round(performance.now());

const close = (): void => {
  const at = now();
  if (isOn && at > since) {
    const last = spent[spent.length - 1];
    if (last && (last.scroll_y === y || spent.length === MOST_INTERVALS)) last.ms += at - since;
    else spent.push({ scroll_y: y, ms: at - since });
  }
  since = at;
};

const look = (): void => {
  close();
  isOn = isFocused && document.visibilityState === "visible";
};

const measure = (): void => {
  lowest = Math.max(lowest, Math.round(scrollY + innerHeight));
  tallest = Math.max(tallest, document.documentElement.scrollHeight);
};

const scrolled = (): void => {
  // While it moves, the time goes to where it comes to rest.
  if (now() - since >= SHORTEST_MS) close();
  y = Math.round(scrollY);
  measure();
  const moved = y - turn;
  if (moved * direction > 0) turn = y;
  else if (Math.abs(moved) >= REVERSAL_PX) {
    if (direction) reversals++;
    direction = Math.sign(moved);
    turn = y;
  }
};

/** Reports what is new since the last report of this page view. */
export const tell = (report: Report, isLeaving: boolean): void => {
  look();
  measure();
  const percent = Math.round(Math.min(1, lowest / (tallest || 1)) * 1e4) / 100;
  const engaged = spent.reduce((sum, each) => sum + each.ms, 0);
  if (engaged) report("Engaged", { engaged_ms: engaged, intervals: spent, scroll_max_pct: percent });
  spent = [];
  const toTell = percent + " " + reversals;
  if (toTell === told) return;
  told = toTell;
  report("Scroll Reached", {
    scroll_max_pct: percent,
    scroll_max_px: Math.min(lowest, tallest),
    scroll_reversals: reversals,
    page_leave: isLeaving,
  });
};

/** A new page view begins. What is seen is measured later: a route is scrolled to its top after its address changed. */
export const begin = (): void => {
  spent = [];
  y = turn = Math.round(scrollY);
  lowest = tallest = reversals = direction = 0;
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
    if (event.target === document) scrolled();
  });
};
