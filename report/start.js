// Start: the header, the state, and drawing again what depends on it.
const SECTIONS = {
  overview: ["Overview", overview],
  channels: ["Channels", channels],
  funnels: ["Funnels", funnels],
  journeys: ["Journeys", journeys],
  pages: ["Pages", pages],
  retention: ["Retention", retention],
  attribution: ["Attribution", attribution],
  quality: ["Quality", quality],
};
const byId = (id) => document.getElementById(id);
const keys = data.period ? data.period.ranges.map((range) => range.key) : [];
let state = {
  range: keys.includes("28") ? "28" : keys.at(-1),
  source: "(all)",
  metric: "visitors",
  grain: "day",
};

function again(part, focus) {
  state = { ...state, ...part };
  const isWide = "range" in part || "source" in part;
  // what is above may grow or shrink: the section that is being read stays where it is
  const read = Object.keys(SECTIONS)
    .map(byId)
    .find((section) => section.getBoundingClientRect().bottom > 90);
  const top = read?.getBoundingClientRect().top;
  for (const [id, [, show]] of Object.entries(SECTIONS))
    if (id === "overview" || (isWide && id !== "quality")) show(byId(id), state, again);
  if (isWide) controls();
  drawAll();
  if (focus) document.querySelector(focus)?.focus({ preventScroll: true });
  if (read) scrollBy({ top: read.getBoundingClientRect().top - top, behavior: "instant" });
}

function controls() {
  const names = { 7: "7 days", 28: "28 days", 90: "90 days", all: "All" };
  byId("ranges").replaceChildren(
    ...(keys.length > 1 ? keys : []).map((key) =>
      el(
        "button",
        {
          type: "button",
          "aria-pressed": String(key === state.range),
          "data-range": key,
          onclick: () => again({ range: key }, `[data-range="${key}"]`),
        },
        names[key],
      ),
    ),
  );
  byId("sources").replaceChildren(
    ...(data.sources.length > 1
      ? [
          select(
            "Source",
            data.sources.map((name) => [name, name === "(all)" ? "All sources" : name]),
            state.source,
            (source) => again({ source }, "#sources select"),
          ),
        ]
      : []),
  );
}

function header() {
  byId("site").textContent = data.site.name;
  byId("span").textContent = data.period
    ? span(data.period.first, data.period.complete ?? data.period.last)
    : "no traffic yet";
  byId("state").replaceChildren(
    ...[
      ["Data to", instant(data.build.horizon)],
      ["Built", instant(data.build.built_at)],
      ["Times in", data.site.timezone],
      ["footfall", data.build.version ?? ""],
    ].map(([name, value]) => el("span", {}, `${name} `, el("b", {}, value))),
  );
  byId("made").textContent =
    `footfall ${data.build.version ?? ""} · built ${instant(data.build.built_at)} · report written ${instant(data.written_at)}. One file, nothing is loaded from anywhere.`;
  byId("nav").replaceChildren(
    ...Object.entries(SECTIONS).map(([id, [name]]) => el("a", { href: `#${id}` }, name)),
  );
}

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

byId("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("footfall-theme", theme);
  } catch {
    // storage is blocked: the choice holds until the page is left
  }
  drawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

let chosenOnScreen;
addEventListener("beforeprint", () => {
  chosenOnScreen = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  drawAll();
  forPaper(true);
});
addEventListener("afterprint", () => {
  if (chosenOnScreen) document.documentElement.dataset.theme = chosenOnScreen;
  else delete document.documentElement.dataset.theme;
  forPaper(false);
  drawAll();
});

let width = innerWidth;
let waiting;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(fitAll, 100);
});

header();
controls();
for (const [id, [, show]] of Object.entries(SECTIONS)) show(byId(id), state, again);
drawAll();
const spy = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of byId("nav").children) {
        if (link.hash === `#${entry.target.id}`) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }
  },
  { rootMargin: "-20% 0px -70% 0px" },
);
for (const id of Object.keys(SECTIONS)) spy.observe(byId(id));
document.documentElement.dataset.ready = "yes";
