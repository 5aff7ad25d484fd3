// Nothing of ours may break the page.

/** The function with its errors swallowed: they are ours, and the page cannot mend them. */
export const safe =
  <A extends unknown[], R>(work: (...given: A) => R) =>
  (...given: A): R | undefined => {
    try {
      return work(...given);
    } catch {
      return undefined;
    }
  };

export const listen = <E extends Event>(target: EventTarget, names: string, work: (event: E) => void): void =>
  names
    .split(" ")
    .forEach((name) => target.addEventListener(name, safe(work) as EventListener, true));

/** Part of the whole, 0 to 1 in steps of a ten-thousandth, or 0 to `hundred`; none of nothing. */
export const share = (part: number, whole: number, hundred = 1): number | undefined =>
  whole ? Math.round(Math.min(1, Math.max(0, part / whole)) * 1e4) / (1e4 / hundred) : undefined;

/** Random and time-ordered characters: the first 8 are the time in base 36 (until 2059). */
export const newId = (): string =>
  [Date.now(), ...crypto.getRandomValues(new Uint32Array(4))].map((number) => number.toString(36)).join("");
