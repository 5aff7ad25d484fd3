// Where the pointer comes to rest. Off by default; `data-moves="0.1"` takes part on every tenth page view.
import type { Door } from "../door";

const door: Door = window.footfall._;
const REST_MS = 500;
const MOST_POINTS = 100;
const rate = Math.min(1, Math.max(0, +(door.data_.moves || 1) || 0));
let points: object[] = [];
let isIn = Math.random() < rate;
let resting: ReturnType<typeof setTimeout>;

const tell = (): void => {
  clearTimeout(resting);
  if (points.length) door.track_("Pointer Moved", { points, ...(rate < 1 && { sample_rate: rate }) });
  points = [];
};

door.listen_<PointerEvent>(document, "pointermove", (event) => {
  clearTimeout(resting);
  if (!isIn || event.pointerType === "touch") return;
  const { clientX, clientY } = event;
  const target = event.composedPath()[0] as Element;
  resting = setTimeout(door.safe_(() => {
    const target_fixed = door.isFixed_(target);
    const [left, top] = target_fixed ? [0, 0] : [scrollX, scrollY];
    points.push({ page_x: Math.round(clientX + left), page_y: Math.round(clientY + top), target_fixed });
    if (points.length >= MOST_POINTS) tell();
  }), REST_MS);
});
door.on_("leave", tell);
door.on_("view", () => {
  isIn = Math.random() < rate;
});
