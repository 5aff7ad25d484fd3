// One question in a corner of the page: NPS, CSAT, CES or free text, with room for a comment.
import type { Door, Properties } from "../door";

const door: Door = window.footfall._;
const DAY_MS = 86_400_000;
const HOST_ID = "footfall-survey";

interface Definition {
  id: string;
  name?: string;
  kind: "nps" | "csat" | "ces" | "text";
  question: string;
  /** A second, free question. */
  comment?: string;
  /** When to ask: after an event of this name, on pages that match ("/thanks*"), so long after that. Else at once. */
  trigger?: { event?: string; page?: string; delay_ms?: number };
  /** Nobody is shown any survey again within it. */
  cooldown_days?: number;
  iteration?: number;
  language?: string;
  /** What the answer is about. */
  ref_kind?: "session" | "order" | "ticket";
  ref_id?: string;
  texts?: Partial<typeof TEXTS>;
}
type End = "answered" | "dismissed" | "not shown";

const TEXTS = { low: "", high: "", send: "Send", close: "Close", thanks: "Thank you." };
const SCALES: Record<string, [number, number]> = { nps: [0, 10], csat: [1, 5], ces: [1, 7] };
const STYLE = `
:host { all: initial; position: fixed; right: 16px; bottom: 16px; z-index: 2147483000; max-width: calc(100vw - 32px) }
form { box-sizing: border-box; width: 26rem; max-width: 100%; padding: 16px; border-radius: 8px; border: 1px solid #767676;
  background: #fff; color: #1a1a1a; font: 16px/1.4 system-ui, sans-serif; box-shadow: 0 4px 24px rgb(0 0 0 / 25%) }
fieldset { border: 0; margin: 0; padding: 0 }
legend, .question { display: block; padding: 0 2rem 8px 0; font-weight: 600 }
.scale { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 4px }
@media (max-width: 480px) { .scale { grid-auto-flow: row; grid-template-columns: repeat(6, 1fr) } }
.scale label { position: relative; text-align: center; padding: 6px 0; border: 1px solid #767676;
  border-radius: 4px; cursor: pointer }
.scale input { position: absolute; inset: 0; margin: 0; width: 100%; height: 100%; opacity: 0; cursor: pointer }
.scale label:has(:checked) { background: #1a1a1a; color: #fff }
:focus-visible, .scale label:has(:focus-visible) { outline: 3px solid #0b57d0; outline-offset: 2px }
.ends { display: flex; justify-content: space-between; font-size: 14px; margin-top: 4px }
textarea { box-sizing: border-box; width: 100%; min-height: 4.5em; font: inherit; padding: 6px; margin-bottom: 8px }
.comment { display: block; margin-top: 12px }
button { font: inherit; padding: 6px 16px; border-radius: 4px; border: 1px solid #1a1a1a; background: #1a1a1a; color: #fff;
  cursor: pointer; margin-top: 8px }
button.close { position: absolute; top: 4px; right: 4px; margin: 0; padding: 4px 10px; background: none; border: 0; color: inherit }
`;

const make = <K extends keyof HTMLElementTagNameMap>(
  name: K, attributes: Record<string, string>, ...inside: (Node | string)[]
): HTMLElementTagNameMap[K] => {
  const element = document.createElement(name);
  for (const [each, value] of Object.entries(attributes)) element.setAttribute(each, value);
  element.append(...inside);
  return element;
};

const ask = (survey: Definition): Promise<End> =>
  new Promise((end) => {
    const texts = { ...TEXTS, ...survey.texts };
    const scale = SCALES[survey.kind];
    const about = {
      survey_id: survey.id,
      survey_name: survey.name,
      iteration: survey.iteration,
      language: survey.language || document.documentElement.lang || undefined,
      ref_kind: survey.ref_kind,
      ref_id: survey.ref_id,
    };
    const host = make("div", { id: HOST_ID });
    const root = host.attachShadow({ mode: "open" });
    // A sheet made by script is no inline style, which a strict policy forbids.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];

    const form = make("form", {
      role: "dialog", "aria-labelledby": "question", tabindex: "-1", novalidate: "", lang: about.language || "", dir: "auto",
    });
    const shut = make("button", { type: "button", class: "close", "aria-label": texts.close }, "\u00d7");
    if (scale) {
      const choices = make("div", { class: "scale" });
      for (let n = scale[0]; n <= scale[1]; n++) {
        choices.append(make("label", {}, make("input", { type: "radio", name: "score", value: `${n}`, required: "" }), `${n}`));
      }
      form.append(make("fieldset", {}, make("legend", { id: "question" }, survey.question), choices,
        make("div", { class: "ends" }, make("span", {}, texts.low), make("span", {}, texts.high))));
    } else {
      form.append(make("label", { id: "question", class: "question", for: "text" }, survey.question),
        make("textarea", { id: "text", name: "text", maxlength: "2000", required: "" }));
    }
    if (survey.comment) {
      form.append(make("label", { class: "comment" }, survey.comment, make("textarea", { name: "comment", maxlength: "2000" })));
    }
    form.append(make("button", { type: "submit" }, texts.send), shut);
    root.append(form);

    const before = document.activeElement as HTMLElement | null;
    const isTyping = !!before?.matches("input,textarea,select,[contenteditable]");
    const close = (how: End): void => {
      const hadFocus = document.activeElement === host;
      host.remove();
      if (hadFocus) before?.focus({ preventScroll: true });
      end(how);
    };
    shut.addEventListener("click", () => close("dismissed"));
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      close("dismissed");
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!form.reportValidity()) return;
      const given = new FormData(form);
      const rows: [string, string, string | number][] = [];
      const text = (name: string): string => ((given.get(name) as string) || "").trim().slice(0, 2000);
      if (scale) rows.push([survey.kind, survey.question, +given.get("score")!]);
      else if (text("text")) rows.push(["text", survey.question, text("text")]);
      if (survey.comment && text("comment")) rows.push(["comment", survey.comment, text("comment")]);
      const submission_id = door.newId_();
      rows.forEach(([question_id, question, answer]) =>
        door.track_("Survey Answered", { ...about, submission_id, question_id, question, answer, completed: true }));
      const isInside = document.activeElement === host;
      form.replaceChildren(make("p", { role: "status" }, texts.thanks), shut);
      if (isInside) form.focus();
      setTimeout(() => close("answered"), 2000);
    });

    document.body.append(host);
    // Who is typing goes on typing.
    if (!isTyping) form.focus({ preventScroll: true });
    door.track_("Survey Shown", about);
  });

const matches = (glob: string): boolean =>
  new RegExp("^" + glob.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*") + "$").test(location.pathname);

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** What must come first: an event of this name, or a page that matches. */
const moment = ({ event, page }: NonNullable<Definition["trigger"]>): Promise<void> =>
  new Promise((done) => {
    const look = (): void => {
      if (!page || matches(page)) done();
    };
    if (event) door.on_("track", (name: string, _: Properties) => name === event && look());
    else {
      look();
      door.on_("view", look);
    }
  });

door.survey = async (given): Promise<End> => {
  const survey = given as Definition;
  if (!survey?.id || !survey.question || !(survey.kind in SCALES || survey.kind === "text")) return "not shown";
  await moment(survey.trigger || {});
  await pause(survey.trigger?.delay_ms || 0);
  const last = +(door.read_("surveyed") || 0);
  const isTooSoon = Date.now() - last < (survey.cooldown_days ?? 30) * DAY_MS;
  // Who cannot be remembered would be asked again and again.
  if (isTooSoon || document.getElementById(HOST_ID) || !door.write_("surveyed", "" + Date.now())) return "not shown";
  return ask(survey);
};
