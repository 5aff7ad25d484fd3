// Where on a page something is: what to find it by again, and its coordinates.

const LONGEST_SELECTOR = 500;
const HANDLES = "a,button,input,select,textarea,label,summary,[role],[onclick],[data-footfall-event]";
const SPEAKS = "a,button,label,summary,[role],h1,h2,h3,h4";

const cut = (text: string | null | undefined, longest: number): string | undefined =>
  text ? text.slice(0, longest) : undefined;

/** What it stands in; out of a shadow too. */
const above = (element: Element): Element | null =>
  element.parentElement || (element.getRootNode() as ShadowRoot).host || null;

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
  for (let each: Element | null = element; each; each = above(each)) {
    const id = each.getAttribute("id"); // the property may be a field of a form

    const isLasting = id && id.length < 65 && !/\d{3}|^:/.test(id);
    const n = placeAmong(each);
    const step = each.localName.slice(0, 80) +
      (isLasting ? "#" + CSS.escape(id) : n > 1 || each.nextElementSibling ? `:nth-of-type(${n})` : "");
    if (step.length + path.length > LONGEST_SELECTOR) break;
    path = path ? step + ">" + path : step;
    if (isLasting) break;
  }
  return path;
};

/** What is written on it; nothing typed by the visitor, and nothing marked as private. */
const textOf = (element: Element): string | undefined =>
  element.matches(SPEAKS) && !element.closest("[data-footfall-private]")
    ? cut((element.getAttribute("aria-label") || element.textContent || "").slice(0, 1000).replace(/\s+/g, " ").trim(), 100)
    : undefined;

const fingerprintOf = (element: Element): string => {
  const of = (name: string): string => (element.getAttribute(name) || "").slice(0, 50);
  return [
    of("role") || element.localName,
    (textOf(element) || "").slice(0, 60),
    "name type data-testid".split(" ").map(of).join(" ").trim(),
    placeAmong(element),
  ].join("|").slice(0, 200);
};

export const isFixed = (element: Element | null): boolean => {
  for (; element; element = above(element)) {
    if (/fixed|sticky/.test(getComputedStyle(element).position)) return true;
  }
  return false;
};

/** The properties of a click: the nearest thing that can be clicked, and where it was hit. */
export const placeOf = (event: MouseEvent): Record<string, unknown> | undefined => {
  const target = event.composedPath()[0];
  if (!(target instanceof Element)) return undefined;
  const element = target.closest(HANDLES) || target;
  const link = element.closest<HTMLAnchorElement>("a[href]");
  const about = {
    selector: selectorOf(element),
    fingerprint: fingerprintOf(element),
    tag: element.localName.slice(0, 80),
    element_id: cut(element.getAttribute("id"), 200),
    element_classes: cut(element.getAttribute("class"), 200),
    text: textOf(element),
    href: cut(typeof link?.href === "string" ? link.href : link?.getAttribute("href"), 500), // an object in SVG
  };
  // A key, or a script, presses a button nowhere.
  if (!event.detail && !event.clientX && !event.clientY) return { ...about, capture: "element" };
  const box = element.getBoundingClientRect();
  const isInFixed = isFixed(element);
  const [x, y, left, top] = [event.clientX, event.clientY, scrollX, scrollY].map(Math.round) as [number, number, number, number];
  const share = (part: number, whole: number): number | null =>
    whole ? Math.round(Math.min(1, Math.max(0, part / whole)) * 1e4) / 1e4 : null;
  return {
    ...about,
    capture: "both",
    page_x: isInFixed ? x : x + left,
    page_y: isInFixed ? y : y + top,
    client_x: x,
    client_y: y,
    scroll_x: left,
    scroll_y: top,
    el_x: share(event.clientX - box.left, box.width),
    el_y: share(event.clientY - box.top, box.height),
    target_fixed: isInFixed,
  };
};
