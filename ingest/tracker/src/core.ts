// The tracker: page views, clicks, scroll, attention; identity, consent; and the door for the parts.
import * as attention from "./attention";
import { anonymousId, choice, choose, forget, nextSeq, read, sessionHint, write, type Choice } from "./identity";
import { selectorOf, placeOf } from "./place";
import { drop, hurry, leave, put } from "./queue";
import { listen, newId, safe } from "./safe";
import { base, key, parts, release, signals, tag, withHash } from "./setting";

declare const VERSION: string;

type Properties = Record<string, unknown>;
type Call = [method: string, given: unknown[], done?: (value: unknown) => void];
type Moment = "click" | "view" | "leave" | "track";

const UTM = ["source", "medium", "campaign", "term", "content"];

const doc = document.documentElement;
const hooks: [Moment, (...given: any[]) => void][] = [];
const loaded: Record<string, Promise<unknown>> = {};
let view = { id: "", url: "", referrer: "", at: 0 };
let untold: ReturnType<typeof setTimeout> | undefined;
let campaign: Record<string, string> | undefined;

const tellOthers = (moment: Moment, ...given: unknown[]): void =>
  hooks.forEach(([on, work]) => on === moment && safe(work)(...given));

const address = (): string => (withHash ? location.href : location.href.split("#")[0]!);

const emit = (type: string, more: Properties, at = Date.now()): void => {
  const chosen = choice();
  if (chosen === "decline" || !key) return;
  const id = newId();
  const isKnown = chosen === "grant";
  put(id, {
    type,
    messageId: id,
    anonymousId: isKnown ? anonymousId() : undefined,
    userId: (isKnown && read("user")) || undefined,
    timestamp: new Date(at),
    ...more,
    context: {
      page: { url: view.url, referrer: view.referrer, title: document.title.slice(0, 500), path: location.pathname },
      library: { name: "footfall.js", version: VERSION },
      locale: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      screen: { width: screen.width, height: screen.height, innerWidth, innerHeight },
      document_w: doc.scrollWidth,
      document_h: doc.scrollHeight,
      campaign,
      session_hint: isKnown ? sessionHint() : undefined,
      page_view_id: view.id,
      seq: nextSeq(),
      release,
      consent: read("consent") || "gpc" in signals || "dnt" in signals ? { choice: chosen, ...signals } : undefined,
    },
  });
};

const track = (event: string, properties: Properties = {}, at?: number): void => {
  emit("track", { event, properties }, at);
  tellOthers("track", event, properties);
};

// --- page views -------------------------------------------------------------------------------------------

/** The page view is told a moment after it began: a route's title comes after its address. */
const tellView = (): void => {
  if (!untold) return;
  clearTimeout(untold);
  untold = undefined;
  emit("page", { properties: {} }, view.at);
};

const endView = (isLeaving: boolean): void => {
  tellView();
  tellOthers("leave", isLeaving);
  attention.tell(track, isLeaving);
};

const beginView = (referrer: string): void => {
  const url = address();
  const query = new URLSearchParams(location.search);
  const found = UTM.filter((name) => query.get("utm_" + name));
  if (found.length) campaign = Object.fromEntries(found.map((name) => [name === "campaign" ? "name" : name, query.get("utm_" + name)!]));
  view = { id: newId(), url, referrer, at: Date.now() };
  untold = setTimeout(safe(tellView), 100);
  attention.begin();
  tellOthers("view");
};

const routed = safe((): void => {
  if (address() === view.url) return;
  endView(true);
  beginView(view.url);
});

const watchRoutes = (): void => {
  for (const name of ["pushState", "replaceState"] as const) {
    const original = history[name];
    history[name] = function (this: History, ...given: Parameters<History["pushState"]>) {
      original.apply(this, given);
      routed();
    };
  }
  listen(window, "popstate hashchange", routed);
  // A page that goes away is hidden right after; one that comes back from the back-forward cache is viewed anew.
  let isGone = false;
  listen<PageTransitionEvent>(window, "pageshow", (event) => {
    isGone = false;
    if (event.persisted) beginView(document.referrer);
  });
  listen(window, "pagehide visibilitychange", (event) => {
    const isLeaving = event.type === "pagehide";
    if (isGone || (!isLeaving && document.visibilityState !== "hidden")) return;
    isGone = isLeaving;
    endView(isLeaving);
    leave();
  });
  listen(window, "online", hurry);
};

// --- clicks -----------------------------------------------------------------------------------------------

const declared = (element: HTMLElement | null | undefined): void => {
  if (!element) return;
  const properties: Properties = {};
  for (const [name, value] of Object.entries(element.dataset)) {
    if (/^footfall[A-Z]/.test(name) && name !== "footfallEvent") {
      properties[name.slice(8).replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase()).slice(1)] = value;
    }
  }
  track(element.dataset.footfallEvent!, properties);
};

const watchClicks = (): void => {
  listen<MouseEvent>(document, "click", (event) => {
    const target = event.composedPath()[0] as HTMLElement;
    const place = placeOf(event);
    if (place && parts.includes("clicks")) track("Element Clicked", place);
    tellOthers("click", place, event);
    declared(target.closest?.<HTMLElement>("[data-footfall-event]:not(form)"));
  });
  listen(document, "submit", (event) => declared((event.target as Element).closest<HTMLElement>("form[data-footfall-event]")));
};

// --- parts ------------------------------------------------------------------------------------------------

const load = (name: string): Promise<unknown> =>
  (loaded[name] ||= new Promise((done) => {
    const script = document.createElement("script");
    script.nonce = tag.nonce;
    script.onload = script.onerror = done;
    script.src = base + `footfall.${name}.js`;
    document.head.append(script);
  }));

const later = (part: string, method: string) => async (...given: unknown[]): Promise<unknown> => {
  await load(part);
  return safe(door[method]!)(...given);
};

/** What the parts work with, and where they leave what they bring. */
const door: Record<string, any> = {
  track, listen, safe, newId, read, write, anonymousId, selectorOf, release,
  on: (moment: Moment, work: () => void) => hooks.push([moment, work]),
  view: () => view,
};

const api: Record<string, any> = {
  version: VERSION,
  _: door,
  track,
  identify: (userId?: string | null, traits?: Properties) => {
    if (userId) write("user", userId);
    emit("identify", { userId: userId || undefined, traits });
  },
  group: (groupId: string, traits?: Properties) => emit("group", { groupId, traits }),
  reset: () => forget("id", "user", "session", "seq"),
  consent: (chosen: Choice) => {
    if (chosen === "decline") drop();
    choose(chosen);
  },
  variant: later("variants", "variant"),
  survey: later("survey", "survey"),
};

const start = (): void => {
  const early: Call[] = (window as any).footfall?.q || [];
  (window as any).footfall = api;
  for (const name of Object.keys(api)) if (typeof api[name] === "function") api[name] = safe(api[name]);
  // What was called before now belongs to the page that begins now.
  beginView(document.referrer);
  early.forEach(([method, given, done]) => {
    const value = api[method]?.(...given);
    done?.(value);
  });
  attention.watch();
  watchRoutes();
  watchClicks();
  parts.filter((name) => name !== "clicks").forEach((name) => void load(name));
};

safe(() => {
  if ((window as any).footfall?.version) return;
  const waiting = document as Document & { prerendering?: boolean };
  if (waiting.prerendering) document.addEventListener("prerenderingchange", safe(start), { once: true });
  else start();
})();
