// The tracker: page views, scroll, attention; identity, consent; and the door for the parts.
import * as attention from "./attention";
import { anonymousId, choice, choose, consentOf, forget, nextSeq, read, sessionHint, write, type Choice } from "./identity";
import { drop, hurry, leave, put } from "./queue";
import { listen, newId, safe } from "./safe";
import { base, key, parts, release, tag, withHash } from "./setting";

declare const VERSION: string;

type Properties = Record<string, unknown>;
type Call = [method: string, given: unknown[], done?: (value: unknown) => void];
type Moment = "click" | "view" | "leave" | "track";

const doc = document.documentElement;
const hooks: [Moment, (...given: any[]) => void][] = [];
const loading: Record<string, Promise<unknown>> = {};
let view = { id: "", url: "", referrer: "", at: 0 };
let untold: ReturnType<typeof setTimeout> | undefined;

const tell = (moment: Moment, ...given: unknown[]): void =>
  hooks.forEach(([on, work]) => on === moment && safe(work)(...given));

const address = (): string => (withHash ? location.href : location.href.split("#")[0]!);

const emit = (type: string, more: Properties, at = Date.now()): void => {
  const chosen = choice();
  const isKnown = chosen === "grant";
  if (chosen === "decline" || !key || (!isKnown && /^[ig]/.test(type))) return;
  const id = newId();
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
      session_hint: isKnown ? sessionHint() : undefined,
      page_view_id: view.id,
      seq: nextSeq(),
      release,
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
  if (!untold) return;
  clearTimeout(untold);
  untold = undefined;
  emit("page", { properties: {} }, view.at);
};

const endView = (isLeaving: boolean): void => {
  tellView();
  tell("leave", isLeaving);
  attention.tell(track, isLeaving);
};

const beginView = (referrer: string): void => {
  view = { id: newId(), url: address(), referrer, at: Date.now() };
  untold = setTimeout(safe(tellView), 100);
  attention.begin();
  tell("view");
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

// --- declared events --------------------------------------------------------------------------------------

/** <button data-footfall-event="Plan Chosen" data-footfall-plan-name="pro"> → Plan Chosen {plan_name: "pro"}. */
const watchDeclared = (): void =>
  listen(document, "click submit", (event) => {
    const found = (event.composedPath()[0] as Element).closest?.<HTMLElement>("[data-footfall-event]");
    if (!found || (found.localName === "form") !== (event.type === "submit")) return;
    const properties: Properties = {};
    for (const { name, value } of found.attributes) {
      const [, said] = /^data-footfall-(?!event$|private$)(.+)/.exec(name) || [];
      if (said) properties[said.replace(/-/g, "_")] = value;
    }
    track(found.dataset.footfallEvent!, properties);
  });

// --- parts ------------------------------------------------------------------------------------------------

const load = (name: string): Promise<unknown> =>
  (loading[name] ||= new Promise((done) => {
    const script = document.createElement("script");
    script.nonce = tag.nonce;
    script.async = false; // in the order in which they are asked for: one part builds on another
    script.onload = script.onerror = done;
    try {
      script.src = base + `footfall.${name}.js`;
      document.head.append(script);
    } catch (error) {
      done(error); // Trusted Types: the page goes on without the part
    }
  }));

const later = (part: string, method: string) => async (...given: unknown[]): Promise<unknown> => {
  await load(part);
  return safe(door[method]!)(...given);
};

/** What the parts work with, and where they leave what they bring. */
const door: Record<string, any> = {
  track, listen, safe, newId, read, write, anonymousId, parts, release, tell, data: tag.dataset,
  on: (moment: Moment, work: () => void) => hooks.push([moment, work]),
  view: () => view,
};

const api: Record<string, any> = {
  version: VERSION,
  _: door,
  track,
  identify: (userId?: string | null, traits?: Properties) => {
    if (userId) write("user", "" + userId);
    emit("identify", { ...(userId && { userId: "" + userId }), traits });
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
  watchDeclared();
  // Friction and outlines need to know places, which is what clicks are made of.
  if (/clicks|friction|outline/.test("" + parts)) void load("clicks");
  parts.forEach(load);
};

safe(() => {
  if ((window as any).footfall?.version) return;
  const waiting = document as Document & { prerendering?: boolean };
  if (waiting.prerendering) document.addEventListener("prerenderingchange", safe(start), { once: true });
  else start();
})();
