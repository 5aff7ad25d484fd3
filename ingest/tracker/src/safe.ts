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
    .forEach((name) => target.addEventListener(name, safe(work) as EventListener, { capture: true, passive: true }));

/** 40 random and time-ordered characters: the first 9 are the time in base 36. */
export const newId = (): string =>
  Date.now().toString(36).padStart(9, "0") +
  [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
