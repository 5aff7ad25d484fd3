// Who this is: ids, session, consent; and where they are kept.
import { newId, safe } from "./safe";
import { key, onSignal, signals, storageKind } from "./setting";

export type Choice = "grant" | "anonymise" | "decline";

const SESSION_MS = 30 * 60_000;
export const prefix = `footfall:${key}:`;

// Reading the property alone throws where the browser blocks storage; writing may fail where reading does not.
const box = safe((): Storage | null => {
  const found = storageKind === "local" ? localStorage : storageKind === "session" ? sessionStorage : null;
  found?.setItem(prefix, "");
  found?.removeItem(prefix);
  return found;
})();

let said = "";
const chosen = (): string => box?.getItem(prefix + "consent") || said;
const isAsked = "gpc" in signals || "dnt" in signals;

/** What the visitor chose here, else what the source makes of the browser's signals. */
export const choice = (): Choice => (chosen() || (isAsked && onSignal !== "ignore" ? onSignal : "grant")) as Choice;

/** What goes along with each event: what was chosen, and what the browser asks for. */
export const consentOf = (): object | undefined =>
  chosen() || isAsked ? { choice: choice(), ...signals } : undefined;

/** The storage, if there is one and we may use it. */
export const store = (): Storage | null => (choice() === "grant" && box) || null;

export const read = (name: string): string | null => store()?.getItem(prefix + name) ?? null;

/** Whether it is kept now. */
export const write = (name: string, value: string): boolean =>
  !!safe(() => {
    store()!.setItem(prefix + name, value);
    return true;
  })();

export const names = (): string[] => {
  const found = store();
  return found
    ? Array.from({ length: found.length }, (_, index) => found.key(index) || "")
        .filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length))
    : [];
};

export const remove = (name: string): void => store()?.removeItem(prefix + name);

/** The device's id; none where nothing can be kept, because such an id would be a new device on each page. */
export const anonymousId = (): string | undefined => {
  if (!read("id")) write("id", newId());
  return read("id") || undefined;
};

export const sessionHint = (): string | undefined => {
  const now = Date.now();
  const [hint, last] = (read("session") || "").split(" ");
  const kept = hint && now - +last! < SESSION_MS ? hint : newId();
  return write("session", kept + " " + now) ? kept : undefined;
};

let counted = 0;

/** Counts the events of the device; where nothing can be kept, those of this page. */
export const nextSeq = (): number => {
  counted = Math.max(counted, +(read("seq") || 0)) + 1;
  write("seq", "" + counted);
  return counted;
};

export const forget = (...which: string[]): void => which.forEach(remove);

/** Keeps the visitor's choice; without "grant" everything else that was kept goes. */
export const choose = (wanted: Choice): void => {
  if (wanted !== "grant") names().forEach(remove);
  said = wanted;
  safe(() => box!.setItem(prefix + "consent", wanted))();
};
