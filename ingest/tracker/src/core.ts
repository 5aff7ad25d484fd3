// The tracker: page views, clicks, scroll, attention; identity, consent; and the door for the parts.
import * as attention from "./attention";
import { anonymousId, choice, choose, consentOf, names, nextSeq, read, remove, sessionHint, write, type Choice } from "./identity";
import { later, load } from "./load";
import { isFixed, placeOf, selectorOf } from "./place";
import { fitting, flush, hurry, mine, put, send } from "./queue";
import { listen, newId, safe } from "./safe";
import { key, parts, said } from "./setting";

declare const VERSION: string;

type Properties = Record<string, unknown>;
type Call = [method: string, given: unknown[], done?: (value: unknown) => void];
type Moment = "click" | "view" | "leave" | "track";

const enum Limit {
  title_chars = 500,
  view_ms = 100,
  early_n = 20,
}

const hooks: [Moment, (...given: any[]) => void][] = [];
const early: Event[] = [];
let view = { id: "", at: 0, page: { url: "", referrer: "" } };
let untold = 0;

const tell = (moment: Moment, ...given: unknown[]): void =>
  hooks.forEach(([on, work]) => on === moment && safe(work)(...given));

const address = (): string => ("hash" in said ? location.href : location.href.split("#")[0]!);

const emit = (type: string, more: Properties, at = Date.now()): void => {
  const chosen = choice();
  if (!key || chosen === "decline" || (chosen !== "grant" && /^[ig]/.test(type))) return;
  const messageId = newId();
  const { documentElement } = document;
  put(messageId, {
    type,
    messageId,
    anonymousId: anonymousId(),
    userId: read("user") || undefined,
    timestamp: new Date(at),
    ...more,
    context: {
      page: { ...view.page, title: document.title.slice(0, Limit.title_chars) },
      library: { name: "footfall.js", version: VERSION },
      locale: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      screen: { width: screen.width, height: screen.height, innerWidth, innerHeight },
      document_w: documentElement.scrollWidth,
      document_h: documentElement.scrollHeight,
      session_hint: sessionHint(),
      page_view_id: view.id,
      seq: nextSeq(),
      release: said.release,
      consent: consentOf(),
    },
  });
};

const track = (event: string, properties: Properties = {}, at?: number): void => {
  emit("track", { event, properties }, at);
  tell("track", event, properties);
};

// --- page views -------------------------------------------------------------------------------------------

/** The page view is told a moment after it began: a route's title comes after its address. */
const tellView = (): void => {
  clearTimeout(untold);
  if (untold) emit("page", { properties: {} }, view.at);
  untold = 0;
};

const endView = (isLeaving: boolean): void => {
  const scroll = {};
  tellView();
  tell("leave", scroll);
  attention.tell(track, isLeaving, scroll);
};

const beginView = (referrer: string): void => {
  view = { id: newId(), at: Date.now(), page: { url: address(), referrer } };
  untold = setTimeout(safe(tellView), Limit.view_ms);
  attention.begin();
  tell("view");
};

const routed = safe((): void => {
  const { url } = view.page;
  if (address() === url) return;
  endView(true);
  beginView(url);
});

const watchRoutes = (): void => {
  for (const name of ["pushState", "replaceState"] as const) {
    const original = history[name];
    history[name] = (...given) => {
      original.apply(history, given);
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
    if (isGone || (!isLeaving && !document.hidden)) return;
    isGone = isLeaving;
    endView(isLeaving);
    void flush();
  });
  listen(window, "online", hurry);
};

// --- clicks, declared events, and errors for the part that tells them ---------------------------------------

const watchClicks = (): void => {
  listen<MouseEvent>(document, "click submit", (event) => {
    const target = event.composedPath()[0];
    if (!(target instanceof Element) || (event.target as Element).id === "footfall-survey") return;
    const isSubmit = event.type === "submit";
    // <button data-footfall-event="Plan Chosen" data-footfall-plan-name="pro"> → Plan Chosen {plan_name: "pro"}.
    const found = target.closest<HTMLElement>("[data-footfall-event]");
    if (found && (found.localName === "form") === isSubmit) {
      const properties: Properties = {};
      for (const { name, value } of found.attributes) {
        name.replace(/^data-footfall-(?!event$|private$)(.+)/, (_, what: string) => (properties[what.replace(/-/g, "_")] = value));
      }
      track(found.dataset.footfallEvent!, properties);
    }
    if (isSubmit) return;
    const place = placeOf(event, target);
    if (parts.includes("clicks")) track("Element Clicked", place);
    tell("click", place, event);
  });
  listen(window, "error unhandledrejection", (event) => event.target === window && early.length < Limit.early_n && early.push(event));
};

// --- what the page may call, and what the parts work with and leave what they bring in ------------------------

const api: Record<string, any> = {
  track,
  identify: (userId?: string | null, traits?: Properties) => {
    if (userId) write("user", (userId = "" + userId));
    emit("identify", userId ? { userId, traits } : { traits });
  },
  group: (groupId: string, traits?: Properties) => emit("group", { groupId, traits }),
  reset: () => ["id", "user", "session", "seq"].forEach(remove),
  consent: (chosen: Choice) => {
    if (chosen === "decline") mine.clear();
    choose(chosen);
  },
  variant: later("variants", "variant"),
  survey: later("survey", "survey"),
};

const start = safe((): void => {
  const { version, q = [] }: { version?: string; q?: Call[] } = window.footfall || {};
  if (version) return;
  for (const name in api) api[name] = safe(api[name]);
  window.footfall = api;
  api.version = VERSION;
  api._ = {
    track_: track, listen_: listen, safe_: safe, newId_: newId, anonymousId_: anonymousId, selectorOf_: selectorOf, isFixed_: isFixed,
    read_: read, write_: write, remove_: remove, names_: names, mine_: mine, fitting_: fitting, send_: send, early_: early, data_: said,
    on_: (moment: Moment, work: () => void) => hooks.push([moment, work]),
  };
  // What was called before now belongs to the page that begins now.
  beginView(document.referrer);
  q.forEach(([method, given, done]) => {
    (done || Boolean)(api[method]?.(...given));
  });
  attention.watch();
  watchRoutes();
  watchClicks();
  parts.forEach(load);
});

listen(document, "prerenderingchange", start);
if (!(document as Document & { prerendering?: boolean }).prerendering) start();
