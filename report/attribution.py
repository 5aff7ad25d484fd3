"""Which channels conversions are credited to, by model and month, and the ways that led to them or to nothing."""

from __future__ import annotations

from typing import Any

from report.published import Published, Row

COLUMNS = "model month channel conversion_n revenue_amt spend_amt roas unconverted_n is_complete"
PATH_COLUMNS = "month outcome path path_n is_complete"
MODELS = ("first", "last", "last_non_direct", "linear")
MOST_MONTHS = 24
MOST_PATHS = 10
MOST_LETTERS = 300


def read(published: Published) -> list[Row]:
    """The newest months, newest first, each with its channels and its commonest paths.

    A channel is `{channel, conversions, revenue, spend, roas}`: the first two by model as MODELS has them, `roas` that
    of linear credit. `paths[outcome]` has [path, path_n], None where marts.attribution_paths is not published.
    """
    months: dict[Any, Row] = {}
    for row in published.rows(
        "select month, channel, is_complete, any_value(spend_amt)::double as spend, any_value(unconverted_n) as rest,"
        " any_value(roas) filter (where model = 'linear') as roas, "
        + ", ".join(
            f"coalesce(sum(conversion_n) filter (where model = '{model}'), 0) as {model}_n,"
            f" coalesce(sum(revenue_amt) filter (where model = '{model}'), 0)::double as {model}_amt"
            for model in MODELS
        )
        + " from marts.attribution where month in (select distinct month from marts.attribution"
        " order by month desc limit $most) group by all order by month desc, linear_n desc, channel",
        most=MOST_MONTHS,
    ):
        month = months.setdefault(
            row["month"],
            {
                "month": row["month"],
                "is_complete": row["is_complete"],
                "unconverted_n": 0,
                "channels": [],
                "paths": None,
            },
        )
        month["unconverted_n"] += row["rest"] or 0
        month["channels"].append(
            {
                "channel": row["channel"],
                "conversions": [round(row[f"{model}_n"], 2) for model in MODELS],
                "revenue": [round(row[f"{model}_amt"], 2) for model in MODELS],
                "spend": row["spend"],
                "roas": row["roas"],
            }
        )
    if months and not published.lacks("marts.attribution_paths", PATH_COLUMNS):
        for month in months.values():
            month["paths"] = {"converted": [], "not_converted": []}
        for row in published.rows(
            "select month, outcome, path, path_n from marts.attribution_paths where month >= $first"
            " qualify row_number() over (partition by month, outcome order by path_n desc, path) <= $most"
            " order by month, outcome, path_n desc, path",
            first=min(months),
            most=MOST_PATHS,
        ):
            if row["month"] in months:
                path = row["path"] if len(row["path"]) <= MOST_LETTERS else f"{row['path'][: MOST_LETTERS - 1]}…"
                months[row["month"]]["paths"][row["outcome"]].append([path, row["path_n"]])
    return list(months.values())
