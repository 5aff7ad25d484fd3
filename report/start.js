// Start: the header, the state, and drawing again what depends on it.
const SECTIONS = {
  overview: ["Overview", overview],
  channels: ["Channels", channels],
  funnels: ["Funnels", funnels],
  journeys: ["Journeys", journeys],
  pages: ["Pages", pages],
  retention: ["Retention", retention],
  lifecycle: ["Lifecycle", lifecycle],
  attribution: ["Attribution", attribution],
  sessions: ["Sessions", sessions],
  bots: ["Bots", bots],
  quality: ["Quality", quality],
};
const byId = (id) => document.getElementById(id);
let at = null;
let [state, , ignored] = fromHash("");

function again(part, focus) {
  state = { ...state, ...part };
  const isWide = ["range", "source", "channel", "device"].some((name) => name in part);
  // what is above may grow or shrink: the section that is being read stays where it is
  const read = Object.keys(SECTIONS)
    .map(byId)
    .find((section) => section.getBoundingClientRect().bottom > 90);
  const top = read?.getBoundingClientRect().top;
  for (const [id, [, show]] of Object.entries(SECTIONS))
    if (id === "overview" || (isWide && id !== "quality")) show(byId(id), state, again);
  if (isWide) controls();
  remember();
  if (focus) document.querySelector(focus)?.focus({ preventScroll: true });
  if (read) scrollBy({ top: read.getBoundingClientRect().top - top, behavior: "instant" });
  drawNew();
}

function remember() {
  try {
    history.replaceState(null, "", toHash(state, at) || location.pathname + location.search);
  } catch {
    // a page inside another may not name itself: the choice holds all the same
  }
}

// show what the address names; where it says nothing of filters, they stay as they are
function follow() {
  const [asked, section, unknown] = fromHash(location.hash);
  if (location.hash.includes("=")) {
    ignored = unknown;
    again(asked);
    controls();
  }
  goTo(section);
}

function goTo(section, behavior = "instant") {
  if (!Object.hasOwn(SECTIONS, section ?? "")) return;
  at = section;
  remember();
  byId(section).scrollIntoView({ behavior });
}

function controls() {
  const keys = presets.map(({ key }) => key);
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
        PRESETS[key],
      ),
    ),
  );
  const range = data.period ? rangeOf(state) : null;
  byId("dates").replaceChildren(...(range ? [dateBox("since", "From", range), dateBox("until", "To", range)] : []));
  byId("choices").replaceChildren(
    ...Object.entries({ source: "sources", channel: "channels", device: "devices" })
      .filter(([name]) => CHOICES[name].length > 1)
      .map(([name, many]) => {
        const box = select(
          capital(name),
          CHOICES[name].map((value) => [value, value === ALL ? `All ${many}` : value]),
          state[name],
          (value) => again({ [name]: value }, `[data-filter="${name}"]`),
        );
        box.dataset.filter = name;
        if (state[name] !== ALL) box.className = "chosen";
        return box;
      }),
  );
  const isFiltered = ["range", "source", "channel", "device"].some((name) => state[name] !== STATE[name]);
  byId("clear").hidden = !isFiltered;
  byId("filtered").textContent = [
    range ? span(range.since, range.until) : "",
    ...["source", "channel", "device"].filter((name) => state[name] !== ALL).map((name) => `${name} ${state[name]}`),
    ignored.length ? `The address also names ${ignored.join(" and ")}, which this report does not have` : "",
  ]
    .filter(Boolean)
    .join(", ");
  byId("ignored").textContent = ignored.length
    ? `Left aside, as this report does not have it: ${ignored.join(", ")}.`
    : "";
}

// a date that is on record and in order moves the range; any other changes nothing
function dateBox(end, label, range) {
  const box = el("input", {
    type: "date",
    "aria-label": label,
    "data-date": end,
    min: data.period.first,
    max: lastDate,
    onchange: (event) => {
      const dates = { since: range.since, until: range.until, [end]: event.target.value };
      if (dates.since > dates.until) dates[end === "since" ? "until" : "since"] = dates[end];
      const asked = `${dates.since}..${dates.until}`;
      const preset = presets.find(({ since, until }) => since === dates.since && until === dates.until);
      if (isRange(asked)) again({ range: preset?.key ?? asked }, `[data-date="${end}"]`);
      else event.target.value = range[end];
    },
  });
  box.value = range[end];
  return box;
}

byId("clear").addEventListener("click", () => {
  ignored = [];
  again({ range: STATE.range, source: ALL, channel: ALL, device: ALL }, "#choices select, #ranges button");
});
addEventListener("hashchange", follow);

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
    ...Object.entries(SECTIONS).map(([id, [name]]) => el(
        "a",
        {
          href: `#${id}`,
          onclick: (event) => {
            event.preventDefault();
            goTo(id, "auto");
            byId(id).focus({ preventScroll: true });
          },
        },
        name,
      )),
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
[state, at, ignored] = fromHash(location.hash);
controls();
for (const [id, [, show]] of Object.entries(SECTIONS)) show(byId(id), state, again);
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
if (at) goTo(at);
drawNew(() => {
  document.documentElement.dataset.ready = "yes";
});
