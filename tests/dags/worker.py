"""Runs DAGs by dag.test() in one process: reads a question a line from its input, answers each with a line.

A process of its own, because Airflow reads its environment when it is first imported, and that costs seconds.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from starlette.exceptions import StarletteDeprecationWarning


def main(said: Path) -> None:
    # What Airflow prints goes into the file `said`; the answers alone go to our own output.
    answers = os.fdopen(os.dup(1), "w")
    with said.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    warnings.simplefilter("error")
    # Airflow's own test client is behind Starlette's; dag.test() uses it in this process.
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    for line in sys.stdin:
        folder, dag_id, conf = json.loads(line)
        began = said.stat().st_size
        bag = DagBag(folder)  # anew: a run leaves its parameters in its DAG
        answer: dict[str, object] = {"dags": sorted(bag.dags), "errors": bag.import_errors}
        if dag_id:
            for task in bag.dags[dag_id].tasks:
                task.retries = 0  # the test waits for no second try
            run = bag.dags[dag_id].test(run_conf=conf)
            answer |= {
                "run": str(run.state),
                "tasks": {each.task_id: str(each.state) for each in run.get_task_instances()},
            }
        text = said.read_bytes()[began:].decode()
        print(json.dumps({**answer, "said": text}), file=answers, flush=True)
    answers.close()
    os._exit(0)  # Airflow's own way out takes a quarter of a minute


main(Path(sys.argv[1]))
