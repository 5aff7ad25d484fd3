// What the core hands to its parts. Types only: a part is a file of its own and takes nothing else along.
// A name that ends in _ is of our own files only: the build shortens it, to the same in all of them.

export type Properties = Record<string, unknown>;
/** Events as they lie in the queue. */
export type Batch = [id: string, json: string][];
export type Moment = "click" | "view" | "leave" | "track";

export interface Door {
  track_(event: string, properties?: Properties, at?: number): void;
  listen_<E extends Event>(target: EventTarget, names: string, work: (event: E) => void): void;
  safe_<A extends unknown[], R>(work: (...given: A) => R): (...given: A) => R | undefined;
  newId_(): string;
  /** The storage of this source, if there is one and the visitor allows it. */
  read_(name: string): string | null | undefined;
  write_(name: string, value: string): true | undefined;
  remove_(name: string): void;
  names_(): string[];
  anonymousId_(): string | undefined;
  /** What this page has not yet delivered, by message id. */
  mine_: Map<string, string>;
  /** As many of the events as one request takes. */
  fitting_(events: Batch): Batch;
  /** Sends them; the milliseconds to wait before another try, 0 if they have arrived. */
  send_(batch: Batch): Promise<number>;
  /** The attributes of the script tag. */
  data_: DOMStringMap;
  /** click: (place, event); view: (); leave: (scroll, to which more may be added); track: (event, properties). */
  on_(moment: Moment, work: (...given: any[]) => void): void;
  selectorOf_(element: Element): string;
  isFixed_(element: Element): boolean;
  /** Errors that nobody caught before the part for them was here. */
  early_: Event[];
  variant?(name: string, weights: Record<string, number>): string;
  left?(): void;
  survey?(definition: unknown): Promise<unknown>;
}

declare global {
  interface Window {
    footfall: any;
  }
}
