"""footfall's clock: land, build, publish."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
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
Brings what the collector took to the tables that BI tools read.

| task | does what |
|---|---|
| land | `footfall land`: what waits in Kafka, or in the log, becomes rows of `raw`, each event once |
| build | `footfall build`: the models follow, as far as new events and the passing of time touch them |
| publish | `footfall publish`: a new `bi.duckdb` and the Parquet files of changed dates, swapped in whole |

Each is safe to repeat at any time: a task that was killed, cleared or retried goes on where it stopped.
One run at a time. When nothing changed, publish is skipped and the asset `footfall_published` stays as it was.

**Parameter** `home`: the whole path of the home; without it `FOOTFALL_HOME` of Airflow's environment.
**Schedule**: `FOOTFALL_SCHEDULE` there, a cron expression; every five minutes without it, by hand only if it is empty.

**When it fails**, the task's log ends with a sentence that says what to do. `footfall doctor` checks the home.
"""


def _given(name: str) -> Any:
    return get_current_context()["params"][name]


@dag(
    schedule=os.environ.get("FOOTFALL_SCHEDULE", "*/5 * * * *") or None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params={"home": Param(os.environ.get("FOOTFALL_HOME", ""), type="string", description="Path of the home")},
    default_args={
        "owner": "footfall",
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "execution_timeout": timedelta(hours=2),
    },
    tags=["footfall"],
    doc_md=DOC,
)
def footfall_pipeline() -> None:
    @task(doc_md="`footfall land`")
    def land() -> None:
        steps.scheduled(_given("home"), steps.land)

    @task(doc_md="`footfall build`")
    def build() -> None:
        steps.scheduled(_given("home"), steps.build)

    @task(doc_md="`footfall publish`", outlets=[PUBLISHED])
    def publish() -> None:
        changed = steps.scheduled(_given("home"), steps.publish)
        # A repeated task may find published what the one before it could not report any more.
        if not changed and get_current_context()["ti"].try_number == 1:
            raise AirflowSkipException("Nothing changed since the last publishing.")

    land() >> build() >> publish()


footfall_pipeline()
