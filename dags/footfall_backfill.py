"""Make a range of dates anew."""

from __future__ import annotations

import os
from datetime import date, timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

try:
    import steps
except ImportError:
    raise ImportError(
        "footfall is not installed in Airflow's own environment: install its wheel there with pip install --no-deps, "
        "beside what requirements-airflow.lock names."
    ) from None

PUBLISHED = Asset("footfall_published", uri="footfall://published", group="footfall")

DOC = """\
Makes the rows of a range of dates anew, with those of the devices and persons seen on them, and publishes.

Needed after a repair by hand, or to be sure; a changed definition is followed by the pipeline itself.

| parameter | means |
|---|---|
| `since`, `until` | first and last local date, both included; one of them may stay empty |
| `dry_run` | only print what would be made anew, into the log of `rebuild`; nothing is changed or published |
| `home` | the whole path of the home; without it `FOOTFALL_HOME` of Airflow's environment |

Safe to repeat, and beside the pipeline: whoever comes second waits for the warehouse.
"""


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _given(name: str) -> Any:
    return get_current_context()["params"][name]


@dag(
    schedule=None,
    params={
        "since": Param(None, type=["null", "string"], format="date", description="First local date"),
        "until": Param(None, type=["null", "string"], format="date", description="Last local date"),
        "dry_run": Param(False, type="boolean", description="Only print what would be made anew"),
        "home": Param(os.environ.get("FOOTFALL_HOME", ""), type="string", description="Path of the home"),
    },
    default_args={
        "owner": "footfall",
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "execution_timeout": timedelta(hours=12),
    },
    tags=["footfall"],
    doc_md=DOC,
)
def footfall_backfill() -> None:
    @task(doc_md="`footfall build --since --until`, or with `--dry-run`")
    def rebuild() -> None:
        days = (_date(_given("since")), _date(_given("until")))
        if not any(days):
            steps.log.error('No range is named: give the parameter "since", "until" or both.')
            raise SystemExit(1)
        steps.scheduled(_given("home"), steps.preview if _given("dry_run") else steps.build, days=days)

    @task(doc_md="`footfall publish`", outlets=[PUBLISHED])
    def publish() -> None:
        if _given("dry_run"):
            raise AirflowSkipException("A dry run publishes nothing.")
        steps.scheduled(_given("home"), steps.publish)

    rebuild() >> publish()


footfall_backfill()
