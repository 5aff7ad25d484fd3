// Elements. Text goes in as text and never as markup, so no title or path can run anything.
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) node.style.setProperty(key, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// a name from outside: isolated, so that right-to-left marks in it turn nothing else around
const outside = (text, attributes = {}) => el("bdi", { title: text, ...attributes }, text);

function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// columns: [{label, text, number, cell, head, sort}]: `text(row)` gives what is read, `cell(row)` an element in its
// place; `head` is an element instead of the label, `sort` how the rows are ordered by this column
function table(caption, columns, rows, { visible = false, className = "" } = {}) {
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      { class: className },
      el("caption", { class: visible ? "" : "unseen" }, caption),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          columns.map((column) =>
            el(
              "th",
              { scope: "col", class: column.number ? "number" : "", "aria-sort": column.sort },
              column.head ?? column.label,
            ),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        rows.map((row) =>
          el(
            "tr",
            {},
            columns.map((column, at) =>
              el(
                at === 0 ? "th" : "td",
                { scope: at === 0 ? "row" : null, class: column.number ? "number" : "" },
                column.cell ? column.cell(row) : column.text(row),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

// the table behind a picture, made when it is opened: most never are, and a year of them would slow every choice
function twin(caption, columns, rows) {
  const box = el("details", { class: "twin" }, el("summary", {}, "Show as table"));
  box.addEventListener("toggle", () => box.append(table(caption, columns, rows)), { once: true });
  return box;
}

const empty = (text) => el("p", { class: "empty" }, text);
// why there is no number here, in a word or two
const without = (why, title) => el("span", { class: "untracked", title }, why);
const note = (...text) => el("p", { class: "note" }, ...text);

function heading(id, title, ...beside) {
  return el("div", { class: "heading" }, el("h2", { id: `${id}-title` }, title), ...beside);
}

// the head of a card: its title, and the legend and controls beside it
const cardHead = (title, ...beside) => el("div", { class: "card-head" }, el("h3", {}, title), ...beside);

function segments(label, choices, chosen, choose) {
  return el(
    "div",
    { class: "segments", role: "group", "aria-label": label },
    choices.map(([key, text]) =>
      el(
        "button",
        { type: "button", "aria-pressed": String(key === chosen), onclick: () => choose(key) },
        text,
      ),
    ),
  );
}

function select(label, choices, chosen, choose) {
  const box = el(
    "select",
    { "aria-label": label, onchange: (event) => choose(event.target.value) },
    choices.map(([key, text]) => el("option", { value: key }, text)),
  );
  box.value = chosen;
  return box;
}

// a change against the period before: [text, "good" | "bad" | "same"]
function change(now, before, { points = false, lowerIsBetter = false } = {}) {
  if (!known(now) || !known(before) || (!points && before === 0)) return null;
  const size = points ? (now - before) * 100 : ((now - before) / Math.abs(before)) * 100;
  const shown = tenth.format(Math.abs(size));
  if (shown === "0.0") return [points ? "0.0 pp" : "0.0 %", "same"];
  const text = `${size > 0 ? "▲" : "▼"} ${Math.abs(size) >= 1000 ? integer.format(Math.abs(size)) : shown} ${points ? "pp" : "%"}`;
  return [text, size > 0 !== lowerIsBetter ? "good" : "bad"];
}

function delta(found) {
  if (!found) return el("span", { class: "delta same" }, NONE);
  return el("span", { class: `delta ${found[1]}` }, found[0]);
}
