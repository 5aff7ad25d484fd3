// From the page to the collector: an event is kept in storage until the collector has answered for it.
//
// Each event has a key of its own there, so tabs never overwrite each other's. A page sends its own events; those that
// other pages have left behind are the work of the part `left`. Nobody hears the answer to what is sent while the page
// goes away: the next page sends it again under the same message id, and landing counts it once. Landing forgets ids
// after 72 hours, so it is noted when an event was sent without an answer: long after, it is given up.
import { choice, names, remove, store, write } from "./identity";
import { later } from "./load";
import { base, key, said } from "./setting";

const enum Limit {
  flush_ms = 2000,
  answer_ms = 15_000,
  longest_wait_ms = 300_000,
  body_bytes = 60_000,
  event_chars = 32_768,
  kept_n = 1500,
}
export type Batch = [id: string, json: string][];

export const mine = new Map<string, string>();
let timer = 0;
let due = 0;
let wait = 0;

const left = later("left", "left");

/** In storage; `unheardAt`: when it was sent without an answer so far. */
const keep = (id: string, json: string, unheardAt: number): unknown =>
  json.length < Limit.event_chars && write("q" + id, unheardAt + "|" + json);

export const put = (id: string, event: object): void => {
  const json = JSON.stringify(event);
  mine.set(id, json);
  // The site's own data needs room in the storage too.
  if (store()?.length! < Limit.kept_n) keep(id, json, 0);
  schedule(wait || Limit.flush_ms);
};

const schedule = (ms: number): void => {
  const at = Date.now() + ms;
  if (timer && due <= at) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(flush, ms);
};

/** What fits in one request: the limit is that of requests that outlive their page. */
export const fitting = (events: Batch): Batch => {
  let bytes = 200;
  return events.filter(([, json], index) => (bytes += new Blob([json]).size + 1) < Limit.body_bytes || !index);
};

/** Sends, and settles what became of it: delivered, or kept for another try, so many milliseconds later. */
export const send = async (batch: Batch): Promise<number> => {
  const body = JSON.stringify({ writeKey: key, sentAt: new Date() }).slice(0, -1) +
    `,"batch":[${batch.map(([, json]) => json)}]}`;
  const own = batch.filter(([id]) => mine.delete(id));
  // Where the last try failed, this one hardly arrives.
  const unheardAt = wait || !navigator.onLine ? 0 : Date.now();
  own.forEach(([id, json]) => keep(id, json, unheardAt));
  let status = 0;
  let later = 0;
  try {
    const answer = await fetch((said.host || base.origin) + "/v1/batch", {
      method: "POST", body, keepalive: body.length < Limit.body_bytes, credentials: "omit", signal: AbortSignal.timeout?.(Limit.answer_ms),
    });
    // An answer that is not read to its end goes on counting as in flight, of which there may be 64 KiB.
    await answer.text();
    status = answer.status;
    later = ~~(answer.headers.get("retry-after") as unknown as number) * 1000;
  } catch {
    // No network, no collector, or a policy of the page: another try is all there is.
  }
  // The collector reads nothing of a request that it answers with 400 or 413, however often it comes.
  if (/^(2..|400|413)$/.test(status as unknown as string)) {
    batch.forEach(([id]) => remove("q" + id));
    return (wait = 0);
  }
  if (choice() !== "decline") {
    own.forEach(([id, json]) => {
      mine.set(id, json);
      keep(id, json, 0);
    });
  }
  return (wait = later || Math.min(Limit.longest_wait_ms, (wait || 500) * (1.5 + Math.random())));
};

/** Sends what fits in one request, at once when it begins: the page may not come back. */
export const flush = async (): Promise<void> => {
  timer = 0;
  if (mine.size) await send(fitting([...mine]));
  if (mine.size) schedule(wait || 50);
  // What other pages have left behind.
  if (!wait && names().some((name) => name[0] === "q" && !mine.has(name.slice(1)))) void left();
};

/** At once: the network is back. */
export const hurry = (): void => {
  wait = 0;
  schedule(0);
};
