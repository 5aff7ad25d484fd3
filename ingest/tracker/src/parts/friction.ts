// Rage clicks, dead clicks, and scrolling back and forth.
import type { Door, Properties } from "../door";

const door: Door = window.footfall._;
const RAGE_N = 3;
const RAGE_MS = 1000;
const RAGE_PX = 30;
const DEAD_MS = 2500;
const MOVE_MS = 100;
const REVERSAL_PX = 100;
// What answers a click by itself, without a change in the document.
const ANSWERS = "input:not([type=button],[type=submit],[type=reset],[type=image]),select,textarea,option,label,video,audio,iframe,[contenteditable]";

// --- rage: a chain of clicks, each soon after and near the one before; told once, when it has ended

let chain: { n: number; at: number; when: number; x: number; y: number; place: Properties } | undefined;
let ending: ReturnType<typeof setTimeout>;

const endChain = (): void => {
  if (chain && chain.n >= RAGE_N) door.track_("Rage Clicked", { ...chain.place, click_n: chain.n }, chain.when);
  chain = undefined;
};

const chainUp = (place: Properties, event: MouseEvent): void => {
  const { timeStamp: at, clientX, clientY, pageX, pageY } = event;
  const [x, y] = place.target_fixed ? [clientX, clientY] : [pageX, pageY];
  const isNext = chain && at - chain.at < RAGE_MS && Math.abs(x - chain.x) + Math.abs(y - chain.y) < RAGE_PX;
  if (!isNext) endChain();
  chain = { n: (chain?.n || 0) + 1, at, when: Date.now(), x, y, place };
  clearTimeout(ending);
  ending = setTimeout(door.safe_(endChain), RAGE_MS);
};

// --- dead: nothing has answered

let waiting: { at: number; place: Properties; timer: ReturnType<typeof setTimeout> }[] = [];

const answered = (longest: number): void => {
  const now = performance.now();
  waiting = waiting.filter(({ at, timer }) => {
    if (now - at >= longest) return true;
    clearTimeout(timer);
    return false;
  });
  if (!waiting.length) watcher.disconnect();
};

/** A part of ours that was loaded meanwhile is no answer. */
const isOurs = ({ addedNodes }: MutationRecord): boolean =>
  addedNodes.length > 0 && [...addedNodes].every((node) => /\/footfall\.\w+\.js$/.test((node as HTMLScriptElement).src));

const watcher = new MutationObserver((records) => records.every(isOurs) || answered(DEAD_MS));
const seen = { subtree: true, childList: true, attributes: true, characterData: true };

const wait = (place: Properties, event: MouseEvent): void => {
  const path = event.composedPath();
  if (path.some((each) => each instanceof Element && each.matches(ANSWERS))) return;
  watcher.observe(document, seen);
  for (const each of path) if (each instanceof ShadowRoot) watcher.observe(each, seen);
  const at = event.timeStamp;
  const when = Date.now();
  const timer = setTimeout(door.safe_(() => {
    waiting = waiting.filter((each) => each.timer !== timer);
    if (!waiting.length) watcher.disconnect();
    door.track_("Dead Clicked", { ...place, delay_ms: Math.round(performance.now() - at) }, when);
  }), DEAD_MS - (performance.now() - at));
  waiting.push({ at, place, timer });
};

door.on_("click", (place?: Properties, event?: MouseEvent) => {
  if (!place || !event || place.capture !== "both") return;
  chainUp(place, event);
  wait(place, event);
});
// --- back and forth: changes of the scroll direction on this page view

let reversals = 0;
let direction = 0;
let turn = scrollY;

door.listen_(document, "scroll", (event) => {
  if (event.target !== document) return;
  const moved = scrollY - turn;
  if (moved * direction > 0) turn = scrollY;
  else if (Math.abs(moved) >= REVERSAL_PX) {
    if (direction) reversals++;
    direction = Math.sign(moved);
    turn = scrollY;
  }
});
door.on_("view", () => {
  reversals = direction = 0;
  turn = scrollY;
});
door.on_("leave", (scroll: Properties) => {
  scroll.scroll_reversals = reversals;
  endChain();
  answered(Infinity);
});
door.listen_(window, "scroll", () => answered(MOVE_MS));
door.listen_(document, "selectionchange", () => answered(MOVE_MS));
// A page that is slow to come leaves this one as it is, but has been asked for.
const { navigation } = window as Window & { navigation?: EventTarget };
if (navigation) door.listen_(navigation, "navigate", () => answered(DEAD_MS));
// A download or a new window takes the focus.
door.listen_(window, "blur", (event) => event.target === window && answered(DEAD_MS));
