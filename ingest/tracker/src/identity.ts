// Who this is: ids, session, consent; and where they are kept.
import { newId, safe } from "./safe";
import { key, said, signals } from "./setting";

export type Choice = "grant" | "anonymise" | "decline";

const enum Limit {
  session_ms = 1_800_000,
}
export const prefix = `footfall:${key}:`;

// Reading the property alone throws where the browser blocks storage; "none" has no property.
const box = safe((): Storage | undefined => (window as any)[(said.storage || "local") + "Storage"])();

let last: Choice | undefined;
const chosen = (): Choice | undefined => (box?.getItem(prefix + "consent") as Choice | null) || last;
const isAsked = signals.gpc || signals.dnt;

const unasked = (isAsked && said.consent !== "ignore" ? said.consent || "anonymise" : "grant") as Choice;

/** What the visitor chose here, else what the source makes of the browser's signals. */
export const choice = (): Choice => chosen() || unasked;

/** What goes along with each event: what was chosen, and what the browser asks for. */
export const consentOf = (): object | undefined =>
  chosen() || isAsked ? { choice: choice(), ...signals } : undefined;

/** The storage, if there is one and we may use it. */
export const store = (): Storage | undefined => (choice() === "grant" ? box : undefined);

export const read = (name: string): string | null | undefined => store()?.getItem(prefix + name);

/** Whether it is kept now. */
export const write = (name: string, value: string): true | undefined =>
  safe(() => {
    store()!.setItem(prefix + name, value);
    return true as const;
  })();

export const names = (): string[] =>
  Object.keys(store() || {})
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length));

export const remove = (name: string): void => store()?.removeItem(prefix + name);

/** The value, if it can be kept: an id that nothing remembers would be a new one on each page. */
const stay = (name: string, value: string, text = value): string | undefined => (write(name, text) ? value : undefined);

/** The device's id; none where nothing can be kept. */
export const anonymousId = (): string | undefined => read("id") || stay("id", newId());

export const sessionHint = (): string | undefined => {
  const now = Date.now();
  const [hint, at] = (read("session") || "").split(" ");
  const kept = now - +at! < Limit.session_ms ? hint! : newId();
  return stay("session", kept, kept + " " + now);
};

let counted = 0;

/** Counts the events of the device; where nothing can be kept, those of this page. */
export const nextSeq = (): number => {
  counted = Math.max(counted, +(read("seq") || 0)) + 1;
  write("seq", "" + counted);
  return counted;
};

/** Keeps the visitor's choice; without "grant" everything else that was kept goes. */
export const choose = (wanted: Choice): void => {
  if (wanted !== "grant") names().forEach(remove);
  last = wanted;
  safe(() => box!.setItem(prefix + "consent", wanted))();
};
