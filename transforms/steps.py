"""What an event must be: a step of a definition as a condition in SQL."""

from __future__ import annotations

from typing import Any

from transforms.definitions import Step

# What an event says of itself, else the session that holds it says for it.
SHARED_COLUMNS = frozenset({"country", "utm_source", "utm_medium", "utm_campaign"})
EVENT_COLUMNS = SHARED_COLUMNS | {"source", "type", "name", "host", "path"}
SESSION_COLUMNS = SHARED_COLUMNS | {
    "channel",
    "device",
    "browser",
    "os",
    "entry_path",
    "exit_path",
    "start_rule",
    "traffic_source",
    "traffic_medium",
}

# How an event e is called as a station of a way: a page by its path.
NODE = "case when e.is_page then coalesce(e.path, e.name) else e.name end"


def like(glob: str) -> str:
    """The LIKE pattern (escape character: backslash) of a glob in which only * is special."""
    for special in ("\\", "%", "_"):
        glob = glob.replace(special, "\\" + special)
    return glob.replace("*", "%")


def column(name: str) -> str:
    """SQL for a value by its name: a column of the event e, of its session s, or a property ($breakdown_path)."""
    if name in SHARED_COLUMNS:
        return f"coalesce(e.{name}, s.{name})"
    if name in EVENT_COLUMNS:
        return f"e.{name}"
    if name in SESSION_COLUMNS:
        return f"s.{name}"
    return "json_extract_string(e.properties, $breakdown_path)"


def matches(step: Step, name: str) -> tuple[str, dict[str, Any]]:
    """The condition that an event e in session s is this step, and the values it binds, all beginning with `name`."""
    values: dict[str, Any] = {}
    if step.event is not None:
        conditions = [rf"e.name like ${name}_event escape '\'"]
        values[f"{name}_event"] = like(step.event)
    else:
        conditions = [rf"(e.is_page and e.path like ${name}_page escape '\')"]
        values[f"{name}_page"] = like(step.page or "")
    for number, (key, wanted) in enumerate(sorted(step.where.items())):
        value = f"{name}_where_{number}"
        if key in EVENT_COLUMNS or key in SESSION_COLUMNS:
            conditions.append(f"{column(key)} = ${value}")
            values[value] = str(wanted)
            continue
        values[f"{value}_path"] = property_path(key)
        found = f"json_extract_string(e.properties, ${value}_path)"
        if isinstance(wanted, bool):
            conditions.append(f"{found} = ${value}")
            values[value] = "true" if wanted else "false"
        elif isinstance(wanted, int | float):
            conditions.append(f"try_cast({found} as double) = ${value}")
            values[value] = float(wanted)
        else:
            conditions.append(f"{found} = ${value}")
            values[value] = wanted
    return " and ".join(conditions), values


def property_path(name: str) -> str:
    """The JSON pointer (RFC 6901) of a property by its name, whatever stands in the name."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
