// Where on a page something is: what to find it by again, and its coordinates.
import { share } from "./safe";

const enum Limit {
  selector = 500,
}
const HANDLES = "a,button,label,summary,[role],input,select,textarea,[onclick],[data-footfall-event]";
const SPEAKS = "a,button,label,summary,[role],h1,h2,h3,h4";

/** What it stands in; out of a shadow too. */
const above = (element: Element): Element | undefined =>
  element.parentElement || (element.getRootNode() as ShadowRoot).host;

const placeAmong = (element: Element): number => {
  let n = 1;
  for (let each = element.previousElementSibling; each; each = each.previousElementSibling) {
    if (each.localName === element.localName) n++;
  }
  return n;
};

/** A CSS path from the nearest lasting id, else from the top; as many steps as fit. */
export const selectorOf = (element: Element): string => {
  let path = "";
  for (let each: Element | undefined = element; each; each = above(each)) {
    const id = each.getAttribute("id") || ""; // the property may be a field of a form
    const isLasting = /^(?!:|.*\d{3}).{1,64}$/s.test(id);
    const n = placeAmong(each);
    const step = each.localName.slice(0, 80) +
      (isLasting ? "#" + CSS.escape(id) : n > 1 || each.nextElementSibling ? `:nth-of-type(${n})` : "");
    if (step.length + path.length > Limit.selector) break;
    path = step + (path && ">" + path);
    if (isLasting) break;
  }
  return path;
};

/** What is written on it; nothing typed by the visitor, and nothing marked as private. */
const textOf = (element: Element): string =>
  element.matches(SPEAKS) && !element.closest("[data-footfall-private]")
    ? (element.getAttribute("aria-label") || element.textContent!).slice(0, 1000).replace(/\s+/g, " ").trim().slice(0, 100)
    : "";

const fingerprintOf = (element: Element): string => {
  const [role, ...stable] = "role name type data-testid".split(" ").map((name) => (element.getAttribute(name) || "").slice(0, 50));
  return [role || element.localName, textOf(element).slice(0, 60), stable.join(" ").trim(), placeAmong(element)].join("|").slice(0, 200);
};

export const isFixed = (element: Element | undefined): boolean => {
  for (; element; element = above(element)) {
    if (/fixed|sticky/.test(getComputedStyle(element).position)) return true;
  }
  return false;
};

/** The properties of a click: the nearest thing that can be clicked, and where it was hit. */
export const placeOf = (event: MouseEvent, target: Element): Record<string, unknown> => {
  const element = target.closest(HANDLES) || target;
  const { clientX, clientY } = event;
  const box = element.getBoundingClientRect();
  const target_fixed = isFixed(element);
  const [client_x, client_y, scroll_x, scroll_y] = [clientX, clientY, scrollX, scrollY].map(Math.round) as [number, number, number, number];
  // A key, or a script, presses a button nowhere.
  const isPlace = event.detail || clientX || clientY;
  return {
    selector: selectorOf(element),
    fingerprint: fingerprintOf(element),
    text: textOf(element) || undefined,
    href: element.closest("a[href]")?.getAttribute("href")!.slice(0, 500),
    capture: isPlace ? "both" : "element",
    ...(isPlace && {
      page_x: target_fixed ? client_x : client_x + scroll_x,
      page_y: target_fixed ? client_y : client_y + scroll_y,
      client_x,
      client_y,
      scroll_x,
      scroll_y,
      el_x: share(clientX - box.left, box.width),
      el_y: share(clientY - box.top, box.height),
      target_fixed,
    }),
  };
};
