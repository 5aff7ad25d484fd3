"""meta.bot_changes: what moved between people and programs when the rules for programs changed."""

from __future__ import annotations

from transforms.run import Run

EVENTS = "select event_no as id, bot_kind as kind, bot_rule as rule from core.events"
SESSIONS = "select session_id as id, bot_kind as kind, bot_rule as rule from core.sessions"
# Whoever has a session that is no program's is a person.
VISITORS = """
select
    person_id as id,
    case when bool_and(is_bot) then min(bot_kind) end as kind,
    case when bool_and(is_bot) then min(bot_rule) end as rule
from core.sessions
where page_view_n > 0 and person_id is not null
group by person_id
"""


def remember(run: Run, counted: str, query: str) -> None:
    """Keep who counts as what, to be compared once it was made anew; to be called in the same transaction."""
    run.warehouse.execute(f"create or replace temp table {counted}_before as {query}")


def compare(run: Run, counted: str, query: str) -> None:
    """Note how many of those that are still there have moved to another audience."""
    run.warehouse.execute(
        f"""
        insert into meta.bot_changes by name
        select
            $build as build_id, '{counted}' as counted, b.kind as was_kind, b.rule as was_rule,
            n.kind as now_kind, n.rule as now_rule, count(*) as moved_n
        from {counted}_before as b
        inner join ({query}) as n on b.id = n.id
        where b.kind is distinct from n.kind or b.rule is distinct from n.rule
        group by all
        """,
        {"build": run.build_id},
    )


def has_changed(run: Run) -> bool:
    """Whether this build found events that another rule, or none, flags now."""
    return bool(
        run.warehouse.value("select count(*) from meta.bot_changes where build_id = $build", {"build": run.build_id})
    )


def moved(run: Run) -> dict[str, tuple[int, int, int]]:
    """What the build moved: of events, sessions and visitors those that are programs now, that are people now, and
    that were programs before too but go by another rule."""
    rows = run.warehouse.execute(
        """
        select
            counted,
            coalesce(sum(moved_n) filter (where was_kind is null), 0)::bigint,
            coalesce(sum(moved_n) filter (where now_kind is null), 0)::bigint,
            coalesce(sum(moved_n) filter (where was_kind is not null and now_kind is not null), 0)::bigint
        from meta.bot_changes
        where build_id = $build
        group by counted
        order by counted
        """,
        {"build": run.build_id},
    )
    return {counted: tuple(numbers) for counted, *numbers in rows}
