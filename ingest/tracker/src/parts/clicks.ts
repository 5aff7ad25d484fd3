// Clicks, each with its place; and places for the other parts.
import type { Door } from "../door";
import { placeOf, selectorOf } from "../place";

const door: Door = window.footfall._;

door.selectorOf = selectorOf;
door.listen<MouseEvent>(document, "click", (event) => {
  if ((event.target as Element).id === "footfall-survey") return; // the visitor clicks on us, not on the page
  const place = placeOf(event);
  if (!place) return;
  if (door.parts.includes("clicks")) door.track("Element Clicked", place);
  door.tell("click", place, event);
});
