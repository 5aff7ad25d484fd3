"""The simulator promises: the same arguments give the same events, and the tally says what they say."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import msgspec
import pytest

from demo.simulate import Simulation, simulate

UNTIL = date(2026, 11, 21)  # the clock change of October lies within the ninety days
ZONE = ZoneInfo("Europe/Amsterdam")
IGNORED = {"Engaged", "Scroll Reached", "Error Raised", "Page Outlined"}
GAP, STITCH, WINDOW = timedelta(minutes=30), timedelta(days=30), timedelta(days=14)
STEPS = ("Product Viewed", "Product Added", "Checkout Started", "Order Completed")


def digest(simulation: Simulation) -> str:
    content = b"".join(path.read_bytes() for path in simulation.rounds)
    return hashlib.sha256(content + msgspec.json.encode(simulation.visits)).hexdigest()


def test_equal_arguments_give_equal_events(tmp_path: Path) -> None:
    digests = []
    for number, (visitors, seed, until) in enumerate(
        [(60, 1, UNTIL), (60, 1, UNTIL), (60, 2, UNTIL), (60, 1, UNTIL - timedelta(days=1)), (61, 1, UNTIL)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        digests.append(digest(simulate(folder, visitors=visitors, seed=seed, until=until)))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


class Naive:
    """The same questions asked of the events alone, slowly and plainly: nothing of the simulator is used."""

    def __init__(self, simulation: Simulation) -> None:
        self.sent = [msgspec.json.decode(line) for path in simulation.rounds for line in path.read_bytes().splitlines()]
        for calls in simulation.visits:
            for call in calls:
                for each in call.events:
                    event = msgspec.json.decode(msgspec.json.encode(each))
                    at = datetime.fromisoformat(event["timestamp"]) - timedelta(milliseconds=call.skew_ms)
                    self.sent += [{**event, "timestamp": at.isoformat()}] * call.copies
        self.events = list({event["messageId"]: event for event in self.sent}.values())
        for event in self.events:
            event["at"] = datetime.fromisoformat(event["timestamp"]).astimezone(UTC)
            event["date"] = event["at"].astimezone(ZONE).date()
            event["name"] = event.get("event", event["type"])
            event["path"] = urlsplit(event["context"].get("page", {}).get("url", "")).path
            event["device"] = event.get("anonymousId")
        self._flag_bots()
        self._find_persons()
        self.sessions = list(self._sessions())

    def _flag_bots(self) -> None:
        seconds = Counter((event["device"], event["at"].replace(microsecond=0)) for event in self.events)
        days = {(device, at.astimezone(ZONE).date()) for (device, at), n in seconds.items() if n > 20}
        for event in self.events:
            agent = event["context"].get("userAgent", "").lower()
            event["is_bot"] = "bot" in agent or (event["device"], event["date"]) in days

    def _find_persons(self) -> None:
        edges = defaultdict(list)
        for event in sorted(self.events, key=lambda event: event["at"]):
            if event["device"] and event.get("userId"):
                edges[event["device"]].append((event["at"], event["userId"]))
        for event in self.events:
            mine = edges[event["device"]]
            place = bisect_left(mine, event["at"], key=lambda edge: edge[0])
            after = mine[place] if place < len(mine) else None
            before = mine[place - 1] if place else None
            person = event.get("userId")
            if not person and after and after[0] - event["at"] <= STITCH:
                person = after[1]
            if not person and before and event["at"] - before[0] <= STITCH:
                person = before[1]
            event["person"] = person or event["device"]

    def _sessions(self) -> Iterator[list[dict[str, Any]]]:
        devices = defaultdict(list)
        for event in sorted(self.events, key=lambda event: event["at"]):
            if event["device"]:
                devices[event["device"]].append(event)
        for events in devices.values():
            session: list[dict[str, Any]] = []
            last = None
            for event in events:
                is_bearing = event["name"] not in IGNORED
                if is_bearing and last and (event["at"] - last > GAP or brings_anew(event, session)):
                    yield session
                    session = []
                session.append(event)
                last = event["at"] if is_bearing else last
            yield session

    def people(self) -> list[list[dict[str, Any]]]:
        return [session for session in self.sessions if not any(event["is_bot"] for event in session)]


def campaign(page: dict[str, Any]) -> tuple[list[str], ...] | None:
    """What a page call says of the campaign that brought it: tags, else the ad's click id."""
    query = parse_qs(urlsplit(page["context"]["page"]["url"]).query)
    tags = [query.get(name, [""]) for name in ("utm_source", "utm_medium", "utm_campaign")]
    clicks = [query[name] for name in ("gclid", "msclkid", "fbclid") if name in query]
    return tuple(tags) if tags != [[""]] * 3 else tuple(clicks) or None


def brings_anew(event: dict[str, Any], session: list[dict[str, Any]]) -> bool:
    pages = [campaign(each) for each in session if each["type"] == "page"]
    if event["type"] != "page" or not pages or not (brought := campaign(event)):
        return False
    known = [each for each in pages if each]
    return not known or known[-1] != brought


def channel(session: list[dict[str, Any]]) -> str:
    context = next(event for event in session if event["type"] == "page")["context"]
    query = parse_qs(urlsplit(context["page"]["url"]).query)
    medium = query.get("utm_medium", [""])[0]
    host = urlsplit(context["page"].get("referrer", "")).netloc.removeprefix("www.")
    media = {"email": "Email", "paid_social": "Paid Social", "display": "Display", "affiliate": "Affiliates"}
    sites = {
        "google.com": "Organic Search", "bing.com": "Organic Search", "duckduckgo.com": "Organic Search",
        "instagram.com": "Organic Social", "facebook.com": "Organic Social", "chatgpt.com": "AI Assistant",
        "perplexity.ai": "AI Assistant", "designmag.example": "Referral",
    }  # fmt: skip
    if medium == "cpc" or (not medium and ("gclid" in query or "msclkid" in query)):
        return "Paid Search"
    return media.get(medium) or sites.get(host) or "Direct"


def device(session: list[dict[str, Any]]) -> str:
    agent = session[0]["context"]["userAgent"]
    return "tablet" if "iPad" in agent else "mobile" if "Mobile" in agent else "desktop"


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulate(tmp_path_factory.mktemp("rounds"), visitors=500, seed=7, until=UNTIL)


@pytest.fixture(scope="module")
def naive(simulation: Simulation) -> Naive:
    return Naive(simulation)


def test_events_and_repeats_are_counted(simulation: Simulation, naive: Naive) -> None:
    tally = simulation.tally
    assert tally.event_n == len(naive.events)
    assert tally.duplicate_n == len(naive.sent) - len(naive.events) > 20
    assert tally.late_n > 50
    assert sum(event["is_bot"] for event in naive.events) == tally.bot_event_n > 0


def test_rounds_hold_late_events(simulation: Simulation) -> None:
    first_day = UNTIL - timedelta(days=90)
    last = [
        datetime.fromisoformat(msgspec.json.decode(line)["timestamp"]).date()
        for line in simulation.rounds[-1].read_bytes().splitlines()
    ]
    assert min(last) < first_day + timedelta(days=30)
    assert max(last) == UNTIL - timedelta(days=1)


def test_the_last_day_is_kept_to_be_sent(simulation: Simulation) -> None:
    calls = [call for calls in simulation.visits for call in calls]
    assert {call.style for call in calls} == {"batch", "short", "long"}
    assert all(len(call.events) == 1 for call in calls if call.style != "batch")
    for call in calls:
        for event in call.events:
            at = datetime.fromisoformat(event.timestamp) - timedelta(milliseconds=call.skew_ms)
            assert at.astimezone(ZONE).date() == UNTIL


def test_traffic_is_what_the_events_say(simulation: Simulation, naive: Naive) -> None:
    counts: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    viewers = set()
    first_views: dict[str, tuple[datetime, tuple[Any, ...]]] = {}
    for session in naive.people():
        country = session[0]["context"]["location"]["country"]
        place = (channel(session), device(session), country)
        names = Counter(event["name"] for event in session)
        start = counts[session[0]["date"], *place]
        engaged = sum(event["properties"]["engaged_ms"] for event in session if event["name"] == "Engaged")
        start["session_n"] += 1
        start["converted_session_n"] += names["Order Completed"] > 0
        start["engaged_session_n"] += engaged >= 10_000 or names["page"] > 1 or names["Order Completed"] > 0
        acted = any(
            event["type"] == "track" and event["name"] not in IGNORED and event["properties"].get("interactive", True)
            for event in session
        )
        start["bounce_n"] += names["page"] == 1 and not acted
        for event in session:
            cell = (event["date"], *place)
            if event["type"] == "page":
                counts[cell]["page_view_n"] += 1
                viewers.add((cell, event["person"]))
                seen = first_views.get(event["person"])
                if not seen or event["at"] < seen[0]:
                    first_views[event["person"]] = (event["at"], cell)
            elif event["name"] == "Order Completed":
                counts[cell]["order_n"] += 1
                counts[cell]["order_cents"] += round(event["properties"]["revenue"] * 100)
    for event in naive.events:
        if event["name"] == "Order Refunded":
            cell = (event["date"], "(none)", "(none)", "(none)")
            counts[cell]["refund_cents"] += round(event["properties"]["revenue"] * 100)
    for cell, _ in viewers:
        counts[cell]["visitor_n"] += 1
    for _, cell in first_views.values():
        counts[cell]["new_visitor_n"] += 1
    tally, days = simulation.tally, simulation.tally.days
    told = {(days.date_of(place[0]), *place[1:]): +counter for place, counter in tally.traffic.items()}
    assert told == {cell: +counter for cell, counter in counts.items()}
    assert sum(counter["refund_cents"] for counter in counts.values()) > 0
    for (period, start_of), counter in tally.totals.items():
        if period == "week":
            persons = {person for cell, person in viewers if monday(cell[0]) == start_of}
            assert counter["visitor_n"] == len(persons)


def test_funnel_is_what_the_events_say(simulation: Simulation, naive: Naive) -> None:
    people = defaultdict(list)
    for event in sorted(naive.events, key=lambda event: event["at"]):
        if event["name"] in STEPS and not event["is_bot"]:
            people[event["person"]].append(event)
    reached: Counter[tuple[date, int]] = Counter()
    for events in people.values():
        entered = set()
        for number, anchor in enumerate(events):
            if anchor["name"] != STEPS[0] or anchor["date"] in entered:
                continue
            entered.add(anchor["date"])
            depth = 1
            for event in events[number + 1 :]:
                if depth < 4 and event["name"] == STEPS[depth] and event["at"] - anchor["at"] <= WINDOW:
                    depth += 1
            reached.update((anchor["date"], step) for step in range(1, depth + 1))
    assert simulation.tally.funnel == reached
    assert all(sum(n for (_, step), n in reached.items() if step == wanted) > 5 for wanted in (1, 2, 3, 4))


def test_retention_is_what_the_events_say(simulation: Simulation, naive: Naive) -> None:
    for name, wanted in (("visitors", "page"), ("buyers", "Order Completed")):
        weeks = defaultdict(set)
        for event in naive.events:
            if event["name"] == wanted and not event["is_bot"]:
                weeks[event["person"]].add(monday(event["date"]))
        cells: Counter[tuple[date, int]] = Counter()
        for mine in weeks.values():
            cells.update((min(mine), number) for week in mine if (number := (week - min(mine)).days // 7) <= 8)
        assert simulation.tally.retention[name] == cells
        assert sum(n for (_, number), n in cells.items() if number) > 5


def test_journeys_are_what_the_events_say(simulation: Simulation, naive: Naive) -> None:
    paths: Counter[tuple[date, str]] = Counter()
    converted: Counter[tuple[date, str]] = Counter()
    edges: Counter[tuple[date, int, str, str]] = Counter()
    for session in naive.people():
        pages = [event["path"] for event in session if event["type"] == "page"]
        if "/" not in pages:
            continue
        nodes: list[str] = []
        for path in pages[pages.index("/") :]:
            name = "/product/:id" if path.startswith("/product/") else path
            if not nodes or nodes[-1] != name:
                nodes.append(name)
        first = next(event["at"] for event in session if event["type"] == "page" and event["path"] == "/")
        key = (session[0]["date"], " > ".join(nodes[:5]))
        paths[key] += 1
        converted[key] += any(e["name"] == "Order Completed" and e["at"] >= first for e in session)
        walk = [*nodes[:5], "(more)" if len(nodes) > 5 else "(exit)"]
        edges.update((key[0], step, walk[step - 1], walk[step]) for step in range(1, len(walk)))
    assert simulation.tally.paths == paths
    assert simulation.tally.path_conversions == +converted
    assert simulation.tally.edges == edges


def test_pages_are_what_the_events_say(simulation: Simulation, naive: Naive) -> None:
    elements: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    friction: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    depths = defaultdict(list)
    kinds = {"Element Clicked": "click_n", "Rage Clicked": "rage_n", "Dead Clicked": "dead_n"}
    opened: dict[str, date] = {}
    for session in naive.people():
        seen: list[tuple[str, datetime]] = []
        for event in session:
            view, properties = event["context"]["page_view_id"], event.get("properties")
            path = "/product/:id" if event["path"].startswith("/product/") else event["path"]
            place = (event["date"], path)
            if event["type"] == "page":
                opened[view] = event["date"]
                friction[place]["view_n"] += 1
                seen.append((path, event["at"]))
                if len(seen) > 2:
                    (before, _), (there, came), (here, left) = seen[-3:]
                    if before == here != there and left - came < timedelta(seconds=5):
                        friction[came.astimezone(ZONE).date(), there]["quick_back_n"] += 1
            elif metric := kinds.get(event["name"]):
                elements[*place, properties["selector"]][metric] += 1
                friction[place][metric] += metric != "click_n"
            elif event["name"] == "Error Raised":
                friction[place]["error_n"] += 1
            elif event["name"] == "Scroll Reached":
                place = (opened[view], path)
                width = event["context"]["screen"]["innerWidth"]
                band = "mobile" if width < 768 else "tablet" if width < 1024 else "desktop"
                depths[*place, band].append(properties["scroll_max_pct"])
                friction[place]["excessive_scroll_n"] += properties["scroll_reversals"] >= 8
    tally = simulation.tally
    assert tally.elements == elements
    assert {place: +counts for place, counts in tally.friction.items()} == {
        place: +counts for place, counts in friction.items()
    }
    assert {place: sorted(each) for place, each in tally.depths.items()} == {
        place: sorted(each) for place, each in depths.items()
    }
    everything = sum(friction.values(), Counter())
    assert all(everything[sign] > 5 for sign in ("rage_n", "dead_n", "quick_back_n", "excessive_scroll_n", "error_n"))


def test_what_is_pressed_lies_within_its_page_and_window(naive: Naive) -> None:
    pressed = [event for event in naive.events if event["name"] == "Element Clicked"]
    for event in pressed:
        at, context = event["properties"], event["context"]
        width, height = context["screen"]["innerWidth"], context["screen"]["innerHeight"]
        assert 0 <= at["page_x"] < width
        assert 0 <= at["page_y"] < context["document_h"]
        assert 0 <= at["client_y"] < height
        assert 0 <= at["scroll_y"] <= context["document_h"] - height
        assert at["page_y"] == at["client_y"] + (0 if at["target_fixed"] else at["scroll_y"])
    assert {event["properties"]["target_fixed"] for event in pressed} == {True, False}


def test_attention_adds_up(naive: Naive) -> None:
    engaged = [event["properties"] for event in naive.events if event["name"] == "Engaged"]
    assert all(sum(each["ms"] for each in told["intervals"]) == told["engaged_ms"] for told in engaged)
    assert sum(len(told["intervals"]) > 1 for told in engaged) > 50


def test_each_page_is_outlined_now_and_then_for_each_kind_of_window(naive: Naive) -> None:
    outlined = Counter(
        (event["path"].partition("/product/")[1] or event["path"], event["properties"]["viewport_band"])
        for event in naive.events
        if event["name"] == "Page Outlined"
    )
    assert {band for _, band in outlined} == {"desktop", "tablet", "mobile"}
    assert max(outlined.values()) <= 4
    boxes = next(event["properties"]["boxes"] for event in naive.events if event["name"] == "Page Outlined")
    assert len(boxes) > 20
    assert all(box["w"] > 0 and box["h"] > 0 and box["selector"] for box in boxes)


def test_edges_of_the_rules_are_among_the_visits(naive: Naive) -> None:
    """The stated cases are really there: pauses of exactly thirty minutes and one millisecond more."""
    pauses = Counter()
    devices = defaultdict(list)
    for event in sorted(naive.events, key=lambda event: event["at"]):
        if event["type"] == "page" and not event["is_bot"]:
            devices[event["device"]].append(event["at"])
    for ats in devices.values():
        pauses.update((after - before) // timedelta(milliseconds=1) for before, after in pairwise(ats))
    assert pauses[1_800_000] == 3
    assert pauses[1_800_001] == 3
    starts_and_ends = [(session[0]["date"], session[-1]["date"]) for session in naive.people()]
    assert sum(start != end for start, end in starts_and_ends) == 3


def test_some_are_brought_back_within_minutes_by_another_campaign(naive: Naive) -> None:
    devices = defaultdict(list)
    for session in naive.people():
        if session[0]["device"]:
            devices[session[0]["device"]].append(session)
    pauses = [after[0]["at"] - before[-1]["at"] for each in devices.values() for before, after in pairwise(each)]
    assert sum(pause < GAP for pause in pauses) > 10
