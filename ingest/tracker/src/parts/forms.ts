// Form submits: which form and which fields, never what was typed.
import type { Door } from "../door";

const door: Door = window.footfall._;
const MOST_FIELDS = 50;

door.listen_(document, "submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement)) return;
  // Attributes, because a field that is called "id" hides the form's own.
  const of = (element: Element, name: string): string | undefined => element.getAttribute(name)?.slice(0, 200);
  const elements = Object.getOwnPropertyDescriptor(HTMLFormElement.prototype, "elements")!.get!.call(form);
  door.track_("Form Submitted", {
    form_id: of(form, "id"),
    form_classes: of(form, "class"),
    fields: [...(elements as HTMLFormControlsCollection)]
      .filter((each) => each.localName !== "fieldset" && each.localName !== "object")
      .slice(0, MOST_FIELDS)
      .map((each) => ({
        name: of(each, "name"),
        tag: each.localName.slice(0, 80),
        type: each.localName === "input" ? (each as HTMLInputElement).type : of(each, "type"),
      })),
  });
});
