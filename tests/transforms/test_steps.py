"""A step asks an event, and where the event does not say, the session that holds it."""

from __future__ import annotations

from tests.transforms.visits import built, said
from transforms.definitions import DAY_US, Definitions, Funnel, Journey, Retention, Step

MAIL = {"campaign": {"source": "mail", "medium": "email", "name": "May"}}
AD = {"campaign": {"source": "ad", "medium": "cpc", "name": "June"}}


def test_the_campaign_of_a_visit_holds_for_all_its_events() -> None:
    url = "https://shop.example/in"
    start = Step("Start", where={"utm_source": "mail"})
    steps = (start, Step("End", where={"exit_path": "/in"}))
    warehouse = built(
        said("page", 0, url=url, window=MAIL),
        said("Start", 1),
        said("End", 2),
        said("page", 0, url=url, window=AD, anonymous_id="e"),
        said("Start", 1, anonymous_id="e"),
        said("End", 2, anonymous_id="e"),
        definitions=Definitions(
            funnels=(
                Funnel("one", steps, window_us=DAY_US),
                Funnel("split", (Step("Start"), Step("End")), window_us=DAY_US, breakdown="utm_campaign"),
            ),
            retentions=(Retention("r", start, Step("End"), period="day"),),
            journeys=(Journey("j", start=start, events=("Start", "End")),),
        ),
    )
    attempts = "select funnel, breakdown_value, depth from marts.funnel_attempts order by all"
    assert warehouse.execute(attempts) == [("one", "(all)", 2), ("split", "June", 2), ("split", "May", 2)]
    cells = "select cohort_n, retained_n from marts.retention_cells where cohort_n > 0 and period_no = 0"
    assert warehouse.execute(cells) == [(1, 1)]
    assert warehouse.execute("select path, unit_n from marts.journey_paths") == [("Start > End", 1)]


def test_what_an_event_says_itself_goes_before_what_its_visit_says() -> None:
    warehouse = built(
        said("page", 0, window=MAIL),
        said("page", 1, window=AD),
        definitions=Definitions(
            funnels=(Funnel("f", (Step(page="/", where={"utm_source": "ad"}), Step("End")), window_us=DAY_US),)
        ),
    )
    assert warehouse.execute("select epoch(entered_at)::int % 60 from marts.funnel_attempts") == [(1,)]
