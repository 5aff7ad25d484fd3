"""Once a day: what is past its time goes, and free bytes return to the disk."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

try:
    import steps
except ImportError:
    raise ImportError(
        "footfall is not installed in Airflow's own environment: install its wheel there with pip install --no-deps, "
        "beside what requirements-airflow.lock names."
    ) from None

DOC = """\
Keeps a home small. The three tasks are what `footfall compact` does.

| task | does what |
|---|---|
| expire | what clients sent word for word goes from `raw` after `[land] keep_payload` (13 months); the facts stay |
| tidy | segments of the log that are landed and older than `[log] keep`, and what killed steps left behind |
| compact | where a quarter of `warehouse.duckdb` or more is free, it is copied into a new file and swapped in |

Each is safe to repeat. **Parameter** `home`: the whole path of the home; without it `FOOTFALL_HOME`.
"""


def _given(name: str) -> Any:
    return get_current_context()["params"][name]


@dag(
    schedule="17 4 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params={"home": Param(os.environ.get("FOOTFALL_HOME", ""), type="string", description="Path of the home")},
    default_args={
        "owner": "footfall",
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "execution_timeout": timedelta(hours=6),
    },
    tags=["footfall"],
    doc_md=DOC,
)
def footfall_maintain() -> None:
    @task(doc_md="Payloads past `[land] keep_payload`")
    def expire() -> None:
        steps.scheduled(_given("home"), steps.expire)

    @task(doc_md="Segments past `[log] keep`, and scratch files")
    def tidy() -> None:
        steps.scheduled(_given("home"), steps.tidy)

    @task(doc_md="The warehouse's free bytes")
    def compact() -> None:
        steps.scheduled(_given("home"), steps.compact)

    expire() >> tidy() >> compact()


footfall_maintain()
