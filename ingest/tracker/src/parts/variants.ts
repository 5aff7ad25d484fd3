// Which variant of an experiment a device gets: always the same one, without asking anybody.
import type { Door } from "../door";

const door: Door = window.footfall._;
let viewed = new Set<string>();

/** A number from 0 to 1 that is even over ids: FNV-1a, stirred by the end of MurmurHash3. */
const place = (text: string): number => {
  let hash = 0x811c9dc5;
  for (const each of text) hash = Math.imul(hash ^ each.codePointAt(0)!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
};

/** The variant by weight. A device without an id gets the first, and takes no part: it could not stay with another. */
door.variant = (name, weights) => {
  const entries = Object.entries(weights).filter(([, weight]) => weight > 0);
  const id = door.anonymousId_();
  if (!id || !entries.length) return entries[0]?.[0] ?? "";
  const total = entries.reduce((sum, [, weight]) => sum + weight, 0);
  let rest = place(name + "\n" + id) * total;
  const [variant] = entries.find(([, weight]) => (rest -= weight) < 0) || entries[entries.length - 1]!;
  if (!viewed.has(name)) {
    viewed.add(name);
    door.track_("Experiment Viewed", { experiment: name, variant });
  }
  return variant;
};
door.on_("view", () => {
  viewed = new Set();
});
