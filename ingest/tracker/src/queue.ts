// From the page to the collector: an event is kept in storage until the collector has answered for it.
//
// Each event has a key of its own there, so tabs never overwrite each other's. A page sends its own events at once,
// and those of other pages when they are old enough to have been left behind. Nobody hears the answer to what is
// sent while the page goes away: the next page sends it again under the same message id, and landing counts it once.
// Landing forgets ids after 72 hours, so such an event, most likely delivered, is given up before that.
import { names, prefix, read, remove, store, write } from "./identity";
import { newId, safe } from "./safe";
import { host, key } from "./setting";

const FLUSH_MS = 2000;
const ORPHAN_MS = 10_000;
const UNHEARD_MS = 48 * 3_600_000;
const ANSWER_MS = 15_000;
const LONGEST_WAIT_MS = 300_000;
const BODY_BYTES = 60_000;
const KEPT_N = 1500;

const mine = new Map<string, string>();
const kept = new Set<string>();
const flying = new Set<string>();
const tab = newId();
let timer: ReturnType<typeof setTimeout> | undefined;
let due = 0;
let wait = 0;

const keep = (id: string, json: string, unheardAt: number): void => {
  if (write("q" + id, unheardAt + "|" + json)) kept.add(id);
};

const age = (id: string): number => Date.now() - parseInt(id.slice(0, 9), 36);

export const put = (id: string, event: object): void => {
  const json = JSON.stringify(event);
  mine.set(id, json);
  // The site's own data needs room in the storage too.
  if (json.length < 32_768 && (store()?.length || 0) < KEPT_N) keep(id, json, 0);
  schedule(wait || FLUSH_MS);
};

/** Forgets what has not been sent. */
export const drop = (): void => mine.clear();

const schedule = (ms: number): void => {
  const at = Date.now() + ms;
  if (timer && due <= at) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(safe(flush), ms);
};

/** What fits in one request: own events first, then (`all`) what other pages left behind. */
const gather = (all: boolean): [string, string][] => {
  const found: [string, string][] = [];
  for (const [id, json] of mine) {
    // Gone although we kept it: the page that took it over has delivered it.
    if (store() && kept.has(id) && age(id) > ORPHAN_MS && read("q" + id) === null) mine.delete(id);
    else if (!flying.has(id)) found.push([id, json]);
  }
  if (all) {
    for (const name of names()) {
      const id = name.slice(1);
      if (name[0] !== "q" || mine.has(id)) continue;
      const text = read(name)!;
      const unheardAt = parseInt(text);
      if (unheardAt && Date.now() - unheardAt > UNHEARD_MS) remove(name);
      else if (age(id) > ORPHAN_MS) found.push([id, text.slice(text.indexOf("|") + 1)]);
      else schedule(ORPHAN_MS);
    }
  }
  let bytes = 200;
  return found.filter(([, json], index) => (bytes += new Blob([json]).size + 1) < BODY_BYTES || !index);
};

/** Sends, and settles what became of it: delivered, or kept for another try. */
const send = async (batch: [string, string][], isLeaving?: boolean): Promise<void> => {
  const body = JSON.stringify({ writeKey: key, sentAt: new Date() }).slice(0, -1) +
    `,"batch":[${batch.map(([, json]) => json)}]}`;
  const keepalive = body.length < BODY_BYTES;
  const url = host + "/v1/batch";
  // A browser without keepalive ends requests with their page, and tells nothing of a beacon.
  if (isLeaving && !("keepalive" in Request.prototype) && navigator.sendBeacon(url, body)) return;
  let status = 0;
  let later = 0;
  batch.forEach(([id]) => flying.add(id));
  try {
    const ending = new AbortController();
    const late = setTimeout(() => ending.abort(), ANSWER_MS);
    const answer = await fetch(url, { method: "POST", body, keepalive, credentials: "omit", signal: ending.signal });
    // An answer that is not read to its end goes on counting as in flight, of which there may be 64 KiB.
    await answer.text();
    clearTimeout(late);
    status = answer.status;
    later = +(answer.headers.get("retry-after") || 0) * 1000;
  } catch {
    // No network, no collector, or a policy of the page: another try is all there is.
  }
  // The collector reads nothing of a request that it answers with 400 or 413, however often it comes.
  const isDone = (status >= 200 && status < 300) || status === 400 || status === 413;
  for (const [id, json] of batch) {
    flying.delete(id);
    if (isDone) {
      mine.delete(id);
      remove("q" + id);
    } else if (kept.has(id)) keep(id, json, 0);
  }
  wait = isDone ? 0 : Math.max(later, Math.min(LONGEST_WAIT_MS, (wait || 500) * 2) * (0.75 + Math.random() / 2));
};

const flush = async (): Promise<void> => {
  timer = undefined;
  const round = async (): Promise<void> => {
    const batch = gather(true);
    if (batch.length) await send(batch);
    if (wait || gather(true).length) schedule(wait || 50);
  };
  if (!store()) return round();
  try {
    return await navigator.locks.request(prefix, { ifAvailable: true }, (lock) => (lock ? round() : schedule(1000)));
  } catch {
    // No locks on a page that is not secure: a lease in the storage. If two take it at once, the ids settle it.
    const [holder, until] = (read("lease") || "").split(" ");
    if (holder && holder !== tab && +until! > Date.now()) return schedule(1000);
    write("lease", tab + " " + (Date.now() + ANSWER_MS));
    await round();
    remove("lease");
  }
};

/** At once: the network is back. */
export const hurry = (): void => {
  wait = 0;
  schedule(0);
};

/** Sends all that this page has, at once and without waiting for a turn: it may not come back. */
export const leave = (): void => {
  const batch = gather(false);
  // Where the last try failed, this one hardly arrives.
  const unheardAt = wait || !navigator.onLine ? 0 : Date.now();
  mine.forEach((json, id) => kept.has(id) && keep(id, json, unheardAt));
  if (batch.length) void send(batch, true).then(() => mine.size && schedule(wait || FLUSH_MS));
};
