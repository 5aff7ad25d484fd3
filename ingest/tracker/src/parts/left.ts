// What other pages have left behind in the storage: sent from here when it is old enough to have been left.
import type { Batch, Door } from "../door";

const door: Door = window.footfall._;
const ORPHAN_MS = 10_000;
const UNHEARD_MS = 48 * 3_600_000;
const TURN_MS = 15_000;

const tab = door.newId_();
let timer: ReturnType<typeof setTimeout>;

const soon = (ms: number): void => {
  clearTimeout(timer);
  timer = setTimeout(door.safe_(take), ms);
};

/** One request with what is old enough; and when to look again. */
const round = async (): Promise<void> => {
  const old: Batch = [];
  let isYoung = false;
  for (const name of door.names_()) {
    const id = name.slice(1);
    if (name[0] !== "q" || door.mine_.has(id)) continue;
    const text = door.read_(name)!;
    const unheardAt = parseInt(text);
    // Most likely delivered, and landing no longer knows its id.
    if (unheardAt && Date.now() - unheardAt > UNHEARD_MS) door.remove_(name);
    else if (Date.now() - parseInt(id.slice(0, 8), 36) > ORPHAN_MS) old.push([id, text.slice(text.indexOf("|") + 1)]);
    else isYoung = true;
  }
  const batch = door.fitting_(old);
  const wait = batch.length ? await door.send_(batch) : 0;
  if (wait || batch.length < old.length) soon(wait || 50);
  else if (isYoung) soon(ORPHAN_MS);
};

const take = async (): Promise<void> => {
  const turn = "footfall:" + door.data_.key;
  try {
    return await navigator.locks.request(turn, { ifAvailable: true }, (lock) => (lock ? round() : soon(1000)));
  } catch {
    // No locks on a page that is not secure: a lease in the storage. If two take it at once, the ids settle it.
    const [holder, until] = (door.read_("lease") || "").split(" ");
    if (holder && holder !== tab && +until! > Date.now()) return soon(1000);
    door.write_("lease", tab + " " + (Date.now() + TURN_MS));
    await round();
    door.remove_("lease");
  }
};

door.left = () => soon(0);
