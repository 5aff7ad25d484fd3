// What the core hands to its parts. Types only: a part is a file of its own and takes nothing else along.

export type Properties = Record<string, unknown>;
export type Moment = "click" | "view" | "leave" | "track";

export interface Door {
  track(event: string, properties?: Properties, at?: number): void;
  listen<E extends Event>(target: EventTarget, names: string, work: (event: E) => void): void;
  safe<A extends unknown[], R>(work: (...given: A) => R): (...given: A) => R | undefined;
  newId(): string;
  /** The storage of this source, if there is one and the visitor allows it. */
  read(name: string): string | null;
  write(name: string, value: string): boolean;
  anonymousId(): string | undefined;
  parts: string[];
  /** The attributes of the script tag. */
  data: DOMStringMap;
  release: string | undefined;
  view(): { id: string; url: string };
  tell(moment: Moment, ...given: unknown[]): void;
  /** click: (place, event); view: (); leave: (isLeaving); track: (event, properties). */
  on(moment: Moment, work: (...given: any[]) => void): void;
  /** Brought by clicks. */
  selectorOf(element: Element): string;
  variant?(name: string, weights: Record<string, number>): string;
  survey?(definition: unknown): Promise<unknown>;
}

declare global {
  interface Window {
    footfall: any;
  }
}
