// Web vitals: LCP, CLS, INP, FCP, TTFB; each once, when the page is first hidden.
import type { Door } from "../door";

const door: Door = window.footfall._;
// Good up to the first, poor beyond the second (web.dev/articles/vitals).
const BOUNDS: Record<string, [number, number]> = {
  LCP: [2500, 4000],
  CLS: [0.1, 0.25],
  INP: [200, 500],
  FCP: [1800, 3000],
  TTFB: [800, 1800],
};
const values: Record<string, number> = {};
const longest = new Map<number, number>();

type Entry = PerformanceEntry & { value: number; hadRecentInput: boolean; interactionId: number; responseStart: number };

const observe = (type: string, take: (entry: Entry) => void, more = {}): PerformanceObserver | undefined => {
  if (!PerformanceObserver.supportedEntryTypes?.includes(type)) return undefined;
  const observer = new PerformanceObserver((list) => (list.getEntries() as Entry[]).forEach(door.safe_(take)));
  observer.observe({ type, buffered: true, ...more });
  observers.push([observer, take]);
  return observer;
};
const observers: [PerformanceObserver, (entry: Entry) => void][] = [];

let session = { value: 0, first: 0, last: 0 };

observe("largest-contentful-paint", (entry) => (values.LCP = entry.startTime));
observe("paint", (entry) => {
  if (entry.name === "first-contentful-paint") values.FCP = entry.startTime;
});
observe("navigation", (entry) => (values.TTFB = Math.max(0, entry.responseStart)));
// Shifts belong together up to a second apart and five seconds in all; the worst such window counts.
if (observe("layout-shift", ({ hadRecentInput, startTime, value }) => {
  if (hadRecentInput) return;
  const isSame = startTime - session.last < 1000 && startTime - session.first < 5000;
  session = isSame ? { ...session, last: startTime, value: session.value + value } : { value, first: startTime, last: startTime };
  values.CLS = Math.max(values.CLS!, session.value);
})) values.CLS = 0;
const interacted = ({ interactionId, duration }: Entry): void => {
  if (!interactionId) return;
  longest.set(interactionId, Math.max(longest.get(interactionId) || 0, duration));
  const sorted = [...longest.values()].sort((a, b) => b - a);
  values.INP = sorted[Math.min(sorted.length - 1, Math.floor(longest.size / 50))]!;
};
observe("event", interacted, { durationThreshold: 40 });
observe("first-input", interacted);

let isTold = false;
door.on_("leave", () => {
  // A page that was loaded in the background was never waited for; a route is not a load.
  if (isTold) return;
  isTold = true;
  observers.forEach(([observer, take]) => {
    (observer.takeRecords() as Entry[]).forEach(take);
    observer.disconnect();
  });
  for (const [metric, value] of Object.entries(values)) {
    const [good, poor] = BOUNDS[metric]!;
    door.track_("Web Vital", {
      metric,
      value: Math.round(value * 1e4) / 1e4,
      rating: value <= good ? "good" : value <= poor ? "needs-improvement" : "poor",
    });
  }
});
