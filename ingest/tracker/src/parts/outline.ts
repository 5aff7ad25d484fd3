// The boxes of a page's elements, the ground on which heatmaps are drawn: once a day, path, band and release.
import type { Door } from "../door";

const door: Door = window.footfall._;
const MOST_BOXES = 200;
const CALM_MS = 1000;
const UNKEPT_SHARE = 0.1;
const DRAWN = "header,nav,main,section,article,aside,footer,form,h1,h2,h3,img,video,p,table,ul,a,button,input,select,textarea,[role=button]";
const ON_THIS_PAGE = new Set<string>();

const band = (): string => (innerWidth < 768 ? "mobile" : innerWidth < 1024 ? "tablet" : "desktop");

const outline = (): void => {
  const name = [door.data_.release || "", band(), location.pathname].join(" ");
  const day = new Date().toISOString().slice(0, 10);
  const [kept, ...seen] = (door.read_("outlined") || "").split("\n");
  const today = kept === day ? seen : [];
  if (ON_THIS_PAGE.has(name) || today.includes(name)) return;
  ON_THIS_PAGE.add(name);
  const isKept = door.write_("outlined", [day, ...today.slice(-200), name].join("\n"));
  // A device that remembers nothing would outline each page each time.
  if (!isKept && Math.random() > UNKEPT_SHARE) return;
  const boxes = [];
  for (const element of document.body.querySelectorAll(DRAWN)) {
    const box = element.getBoundingClientRect();
    if (box.width < 4 || box.height < 4) continue;
    // what is fixed lies in the window, as its clicks do
    const is_fixed = door.isFixed_(element);
    const [left, top] = is_fixed ? [0, 0] : [scrollX, scrollY];
    const [x, y, w, h] = [box.left + left, box.top + top, box.width, box.height].map(Math.round);
    boxes.push({ selector: door.selectorOf_(element), x, y, w, h, is_fixed });
    if (boxes.length === MOST_BOXES) break;
  }
  door.track_("Page Outlined", { boxes, viewport_band: band() });
};

let calm: ReturnType<typeof setTimeout>;

const soon = (): void => {
  clearTimeout(calm);
  calm = setTimeout(door.safe_(() => document.visibilityState === "visible" && outline()), CALM_MS);
};

door.on_("view", soon);
if (document.readyState === "complete") soon();
else door.listen_(window, "load", soon);
