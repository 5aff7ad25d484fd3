"""footfall.toml and FOOTFALL_* of the environment as one frozen, checked object.

Only the front door and the DAGs read it; what lies below them is handed plain values.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

FILE = "footfall.toml"
STARTER = Path(__file__).parent / "footfall.default.toml"
PREFIX = "FOOTFALL_"

# Named in the design, built later: refused with a sentence, since a setting that does nothing would mislead.
LATER = {
    "": {"segment", "heatmap", "value", "feedback", "experiment"},
    "collector": {"depth"},
    "sessions": {"preset"},
    "funnel": {"hold", "fixed", "segment", "preset"},
    "retention": {"segment", "preset"},
    "journey": {"segment"},
}

# What every view of a planned event has of its own.
VIEW_COLUMNS = frozenset("event_id source event_at date person_id session_id path is_bot violations".split())

# From any moment that an event may have, this far back and forth there are dates.
LONGEST = timedelta(days=36_500)
LONGEST_CAP = timedelta(days=31)
LONGEST_WAY = timedelta(days=366)
LAST_INDEX = 3660
YEARS = range(1900, 2200)  # in which events are taken

Path_ = tuple[str | int, ...]


class ConfigError(Exception):
    """The settings cannot be used. One line a problem: where, what is allowed, what was probably meant."""


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"\s*(\d+)\s*([smhdw])\s*", value) if isinstance(value, str) else None
    if not match or not int(match[1]):
        raise ValueError('must be a time such as "30m", "24h", "14d" or "1w"')
    names = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    try:
        span = timedelta(**{names[match[2]]: int(match[1])})
    except OverflowError:
        span = timedelta.max
    if span > LONGEST:
        raise ValueError(f'must be at most "{LONGEST.days}d"')
    return span


def _duration_or_none(value: object) -> object:
    return None if value is None or value == "none" else _duration(value)


def _durations(value: object) -> object:
    if value is None or value == "none":
        return None
    return tuple(_duration(each) for each in value) if isinstance(value, list | tuple) else (_duration(value),)


def _bytes(value: object) -> object:
    """A size in bytes from 1048576, "1 MiB" or "1MB"."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]i?)?B?\s*", value, re.IGNORECASE)
    if not match:
        raise ValueError('must be a size such as 1048576, "256 KiB" or "10 MB"')
    unit = (match[2] or "").upper()
    base = 1024 if unit.endswith("I") else 1000
    return int(float(match[1]) * base ** ("KMG".index(unit[0]) + 1 if unit else 0))


def _brackets(value: object) -> object:
    """[1, "2-7", [8, 30]] as pairs."""
    if not isinstance(value, list | tuple):
        return value
    pairs = []
    for each in value:
        text = re.fullmatch(r"\s*(\d+)\s*[-–]\s*(\d+)\s*", each) if isinstance(each, str) else None  # noqa: RUF001
        pair = (each, each) if isinstance(each, int) else (int(text[1]), int(text[2])) if text else each
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(n, int) for n in pair):
            raise ValueError('must be a list such as [1, "2-7", "8-30"]')
        if not 0 <= pair[0] <= pair[1]:
            raise ValueError("must hold ranges that begin at 0 or later and do not end before they begin")
        pairs.append(tuple(pair))
    return tuple(pairs)


def _texts(value: object) -> object:
    """A list from the environment may be written as a, b, c."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _parts(value: object) -> object:
    """What revenue includes beside the goods: "neither", or a list of parts."""
    return () if value == "neither" else _texts(value)


def _telling(value: object) -> object:
    """Patterns of events of which each one is much: one that every event matches would stall or empty the models."""
    found = _texts(value)
    if isinstance(found, list | tuple) and any(isinstance(each, str) and not each.strip("* ") for each in found):
        raise ValueError('has "*", which every event matches. Name the events that matter')
    return found


def _single(value: object) -> object:
    """Conditions on properties: one value each."""
    for key, wanted in value.items() if isinstance(value, dict) else ():
        if not isinstance(wanted, str | int | float | bool):
            raise ValueError(f'must ask "{key}" for one text, one number, true or false')
    return value


def _networks(value: object) -> object:
    found = _texts(value)
    for each in found if isinstance(found, list | tuple) else ():
        try:
            ip_network(str(each))
        except ValueError:
            raise ValueError('must hold addresses or networks such as "10.0.0.0/8"') from None
    return found


def _zone(value: object) -> object:
    try:
        # Files that Python finds beside the zones, and DuckDB does not know.
        if str(value).startswith(("posix", "right/", "localtime")):
            raise ZoneInfoNotFoundError
        ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError('must be a zone such as "UTC" or "Europe/Amsterdam"') from None
    return value


Name = Annotated[str, Field(min_length=1, max_length=200)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=1024)]
Texts = Annotated[tuple[Name, ...], BeforeValidator(_texts)]
Telling = Annotated[tuple[Name, ...], BeforeValidator(_telling)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Site(Part):
    name: Name = "site"
    timezone: Annotated[str, BeforeValidator(_zone)] = "UTC"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    revenue_includes: Annotated[tuple[Literal["tax", "shipping"], ...], BeforeValidator(_parts)] = ()
    key_events: Telling = ("Order Completed",)
    hosts: Texts = ()
    ignore_referrers: Texts = ()


class Source(Part):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    write_key: Name | None = None
    aliases: Texts = ()
    secret_key: Name | None = None
    origins: Texts = ()
    id_storage: Literal["local", "session", "none"] = "local"
    consent: Literal["anonymise", "decline", "ignore"] = "anonymise"


class Collector(Part):
    request_bytes: Bytes = 10 * 2**20
    inflated_bytes: Bytes = 20 * 2**20
    event_bytes: Bytes = 256 * 2**10
    rate_per_key: Annotated[int, Field(ge=1)] | None = None
    rate_per_address: Annotated[int, Field(ge=1)] | None = None
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_networks)] = ()


class Log(Part):
    segment_bytes: Bytes = 64 * 2**20
    segment_minutes: Annotated[int, Field(ge=1)] = 10
    keep: Duration = timedelta(hours=24)


class Security(Part):
    """How to come into Kafka; files that are no whole path lie in the home."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: Name | None = None
    password: Annotated[Name | None, Field(repr=False)] = None
    password_file: Name | None = None
    cafile: Name | None = None
    certfile: Name | None = None
    keyfile: Name | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        asked = {"mechanism": self.mechanism, "username": self.username}
        given = {**asked, "password": self.password, "password_file": self.password_file}
        if self.protocol.startswith("SASL"):
            if lack := next((key for key, value in asked.items() if value is None), None):
                raise ValueError(f'protocol "{self.protocol}" needs a "{lack}"')
            if (self.password is None) == (self.password_file is None):
                raise ValueError(f'protocol "{self.protocol}" needs either a "password" or a "password_file"')
        elif extra := next((key for key, value in given.items() if value is not None), None):
            raise ValueError(f'"{extra}" needs protocol "SASL_SSL" (or "SASL_PLAINTEXT")')
        files = {"cafile": self.cafile, "certfile": self.certfile, "keyfile": self.keyfile}
        if not self.protocol.endswith("SSL") and (extra := next((key for key in files if files[key]), None)):
            raise ValueError(f'"{extra}" needs protocol "SSL" or "SASL_SSL"')
        if self.keyfile and not self.certfile:
            raise ValueError('"keyfile" needs a "certfile"')
        return self


class Kafka(Part):
    bootstrap: Annotated[Texts, Field(min_length=1)]
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")] = "footfall.events"
    partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    security: Security = Security()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for each in self.bootstrap:
            port = each.rpartition(":")[2]
            if ":" not in each or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError(f'"bootstrap" must hold addresses such as "127.0.0.1:9092", not "{each}"')
            if self.security.protocol.endswith("PLAINTEXT") and not _is_here(each.rpartition(":")[0]):
                raise ValueError(
                    f'"{each}" is another machine, and protocol "{self.security.protocol}" would send events there for '
                    'all to read: set protocol under [kafka.security] to "SSL" or "SASL_SSL"'
                )
        return self

    def client(self, home: Path) -> dict[str, Any]:
        """What every client of kafka-python is given to reach the brokers.

        Raises ConfigError for a file that is not there, and for a password that others may read.
        """
        given = self.security
        files = {key: _file(home, key, getattr(given, key)) for key in ("cafile", "certfile", "keyfile")}
        return {
            "bootstrap_servers": list(self.bootstrap),
            "security_protocol": given.protocol,
            "sasl_mechanism": given.mechanism,
            "sasl_plain_username": given.username,
            "sasl_plain_password": _password(home, given),
            **{f"ssl_{key}": path for key, path in files.items()},
        }


def _is_here(host: str) -> bool:
    """Whether a host's name or address is that of this machine to itself."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _file(home: Path, key: str, name: str | None) -> str | None:
    path = home / name if name else None
    if path and not path.is_file():
        raise ConfigError(f'[kafka.security] "{key}": there is no file {path}.')
    return str(path) if path else None


def _password(home: Path, given: Security) -> str | None:
    if not given.password_file:
        return given.password
    path = Path(str(_file(home, "password_file", given.password_file)))
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"Others may read Kafka's password in {path}. Run: chmod 600 {path}")
    try:
        password = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        password = ""
    if not password:
        raise ConfigError(f"{path} must hold Kafka's password, as one line of text.")
    return password


class Land(Part):
    dedup_hours: Annotated[int, Field(ge=1)] = 72
    batch_events: Annotated[int, Field(ge=1)] = 240_000
    keep_payload: Duration = timedelta(days=396)


class Publish(Part):
    events_days: Annotated[int, Field(ge=1)] = 30


class WarehouseLimits(Part):
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?([KMGT]i?B|%)$")] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    wait: Duration = timedelta(seconds=30)


class PageRule(Part):
    match: Name
    as_: Name = Field(alias="as")

    @model_validator(mode="after")
    def _tells_pages_apart(self) -> Self:
        if not self.match.strip("*"):
            raise ValueError(f'"match" = "{self.match}" would make one of all pages. Name those that are one')
        return self


class Sessions(Part):
    gap: Duration = timedelta(minutes=30)
    cap: Duration = timedelta(hours=24)
    ignore: Telling = ()
    cut_at_midnight: bool = False
    cut_on_client_id: bool = False
    cut_on_campaign: bool = False
    cut_on_user_change: bool = False
    cut_on_events: Telling = ("Session Started",)
    heartbeat: Duration = timedelta(seconds=10)
    min_visit: Duration = timedelta(seconds=5)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.gap > self.cap:
            raise ValueError('"gap" must not be longer than "cap"')
        if self.cap > LONGEST_CAP:
            raise ValueError(
                f'"cap" must be at most "{LONGEST_CAP.days}d": the models read so far around each new event'
            )
        if both := set(self.cut_on_events) & set(self.ignore):
            raise ValueError(f'"{min(both)}" is in "cut_on_events" and in "ignore": take it out of one')
        return self


class Identity(Part):
    stitch_days: Annotated[int, Field(ge=0, le=3650)] = 30
    max_users_per_device: Annotated[int, Field(ge=1)] = 3
    id_blocklist: Texts = ()


class Bots(Part):
    max_eps: Annotated[int, Field(ge=1)] = 20
    max_day: Annotated[int, Field(ge=1)] = 5000


class Friction(Part):
    n: Annotated[int, Field(ge=2, le=100)] = 3
    within: Duration = timedelta(seconds=1)
    within_px: Annotated[int, Field(ge=1)] = 30
    quick_back_s: Annotated[float, Field(gt=0, le=3600)] = 5
    reversals: Annotated[int, Field(ge=1)] = 8


class Step(Part):
    event: Name | None = None
    page: Name | None = None
    where: Annotated[dict[str, str | int | float | bool], BeforeValidator(_single)] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.event is None) == (self.page is None):
            raise ValueError('must have either an "event" or a "page", not both and not neither')
        return self


class Exclude(Part):
    event: Name
    from_: Annotated[int, Field(ge=1)] = Field(1, alias="from")
    to: int | None = None


class Funnel(Part):
    name: Name
    steps: Annotated[tuple[Step, ...], Field(min_length=2, max_length=20)]
    order: Literal["ordered", "strict", "any"] = "ordered"
    window: Annotated[timedelta | None, BeforeValidator(_duration_or_none)] = timedelta(days=14)
    step_window: Annotated[tuple[timedelta, ...] | None, BeforeValidator(_durations)] = None
    unit: Literal["person", "session"] = "person"
    entry_period: Literal["day", "week", "month", "all"] = "day"
    from_: date | None = Field(None, alias="from")
    to: date | None = None
    reentry: Literal["first", "optimized"] = "first"
    counting: Literal["uniques", "totals"] = "uniques"
    exclude: tuple[Exclude, ...] = ()
    on_exclude: Literal["drop", "stop"] = "drop"
    strict_ignore: Texts = ("Element Clicked", "Rage Clicked", "Dead Clicked", "Experiment Viewed")
    ties: Literal["either", "strict"] = "either"
    either_within_s: Annotated[int, Field(ge=0, le=86_400)] = 0
    breakdown: Name | None = None
    breakdown_from: str = "first_step"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        between = len(self.steps) - 1
        if self.window is None and self.step_window is None:
            raise ValueError('needs a "window" or a "step_window"')
        if self.step_window is not None and len(self.step_window) not in (1, between):
            raise ValueError(f'"step_window" must be one time, or a list of {between}: one from step to step')
        for each in self.exclude:
            if each.from_ >= (each.to or len(self.steps)) or (each.to or 0) > len(self.steps):
                raise ValueError(f'"exclude" must lie between steps 1 and {len(self.steps)}, "from" before "to"')
            inner = range(each.from_ + 1, each.to or len(self.steps))
            if inner and not each.event.strip("*"):
                raise ValueError(f'"exclude" names "{each.event}", which every page and event meets: nobody could pass')
            if met := next((number for number in inner if _covers(each.event, self.steps[number - 1].event)), None):
                raise ValueError(f'"exclude" names "{each.event}", which is step {met} itself: nobody could pass')
        if self.either_within_s and self.ties == "strict":
            raise ValueError('"either_within_s" needs "ties" = "either": with "strict" times must increase')
        if self.entry_period != "all" and (self.from_ or self.to):
            raise ValueError('"from" and "to" need "entry_period" = "all"')
        if wild := next((each for each in (self.from_, self.to) if each and each.year not in YEARS), None):
            raise ValueError(f'"from" and "to" must lie between {YEARS[0]} and {YEARS[-1]}, not in {wild.year:04}')
        if self.from_ and self.to and self.from_ > self.to:
            raise ValueError(f'"from" {self.from_} must not lie behind "to" {self.to}')
        if self.on_exclude == "stop":
            raise ValueError('"on_exclude" = "stop" is not built yet')
        if self.breakdown_from == "all":
            raise ValueError('"breakdown_from" = "all" is not built yet')
        step = re.fullmatch(r"step:(\d+)", self.breakdown_from)
        if self.breakdown_from not in ("first_step", "last_step", "first_touch") and not (
            step and 1 <= int(step[1]) <= len(self.steps)
        ):
            raise ValueError(
                '"breakdown_from" must be "first_step", "last_step", "first_touch", '
                f'or "step:1" to "step:{len(self.steps)}"'
            )
        return self


class Retention(Part):
    name: Name
    start: Step
    returns: Step
    period: Literal["day", "week", "month"] = "week"
    intervals: Annotated[int, Field(ge=1, le=366)] = 8
    entry: Literal["first_ever", "recurring"] = "first_ever"
    clock: Literal["calendar", "rolling_24h"] = "calendar"
    mode: Literal["exact", "on_or_after", "brackets"] = "exact"
    brackets: Annotated[tuple[tuple[int, int], ...], BeforeValidator(_brackets), Field(min_length=1)] = (
        (1, 1),
        (2, 7),
        (8, 30),
    )
    min_occurrences: Annotated[int, Field(ge=1)] = 1
    value: Annotated[str, Field(pattern=r"^(count|sum\([^()]+\))$")] = "count"
    reference: Literal["total", "previous"] = "total"
    warmup: Duration = timedelta(days=30)
    breakdown: Name | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.warmup % timedelta(days=1):
            raise ValueError('"warmup" must be whole days')
        if self.brackets[-1][1] > LAST_INDEX:
            raise ValueError(f'"brackets" must end at {LAST_INDEX} or before')
        if any(after[0] <= before[1] for before, after in zip(self.brackets, self.brackets[1:], strict=False)):
            raise ValueError('"brackets" must follow each other without overlap')
        return self


class Lifecycle(Part):
    active_events: Texts = ()


class Journey(Part):
    name: Name
    start: Step | None = None
    end: Step | None = None
    events: Texts = ()
    clean: tuple[PageRule, ...] = ()
    include: Texts = ()
    exclude: Telling = ()
    max_steps: Annotated[int, Field(ge=1, le=20)] = 5
    scope: Literal["session", "person"] = "session"
    window: Duration = timedelta(days=1)
    edge_limit: Annotated[int, Field(ge=1, le=500)] = 50
    min_weight: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if both := set(self.include) & set(self.exclude):
            raise ValueError(f'"{min(both)}" is in "include" and in "exclude": take it out of one')
        if self.window > LONGEST_WAY:
            raise ValueError(
                f'"window" must be at most "{LONGEST_WAY.days}d": the models read so far around each new event'
            )
        for place, step in (("start", self.start), ("end", self.end)):
            if step and step.page and (rule := self._hides(step.page)):
                raise ValueError(f'"{rule}" leaves out "{step.page}", which is the "{place}": no way would be found')
        if self.scope == "person" and not (self.start or self.end):
            raise ValueError('with scope "person" needs a "start" or an "end"')
        return self

    def _hides(self, page: str) -> str | None:
        """The key that leaves out every page that the glob matches, as far as can be told before paths are cleaned."""
        if any(_meet(rule.match, page) for rule in self.clean):
            return None
        if any(_covers(glob, page) for glob in self.exclude):
            return "exclude"
        return "include" if self.include and not any(_meet(glob, page) for glob in self.include) else None


class Attribution(Part):
    lookback: Duration = timedelta(days=30)
    touches: Telling = ()
    since_last_conversion: bool = False


class Event(Part):
    """An event of the tracking plan."""

    name: Name
    as_: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,50}$")] | None = Field(None, alias="as")
    required: Texts = ()
    properties: dict[Name, Literal["text", "number", "integer", "boolean", "time", "list", "object"]] = {}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if "*" in self.name:
            raise ValueError('"name" must be one event, not a pattern with *: each has a view of its own')
        columns: dict[str, str] = {}
        for name in self.names():
            if (other := columns.setdefault(_column(name), name)) != name:
                raise ValueError(
                    f'the properties "{other}" and "{name}" would both be the column {_column(name)}: leave one out'
                )
        return self

    def names(self) -> list[str]:
        """The properties that the plan names, in order."""
        return list(dict.fromkeys([*self.properties, *self.required]))

    @property
    def view(self) -> str:
        return f"event_{self.as_ or _safe(self.name)}"


class Config(Part):
    """All of footfall.toml under the names of its keys; repeated sections are tuples in their plural."""

    site: Site = Site()
    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = Field(alias="source")
    collector: Collector = Collector()
    log: Log = Log()
    kafka: Kafka | None = None
    land: Land = Land()
    publish: Publish = Publish()
    warehouse: WarehouseLimits = WarehouseLimits()
    pages: tuple[PageRule, ...] = Field((), alias="page")
    sessions: Sessions = Sessions()
    identity: Identity = Identity()
    bots: Bots = Bots()
    friction: Friction = Friction()
    funnels: tuple[Funnel, ...] = Field((), alias="funnel")
    retentions: tuple[Retention, ...] = Field((), alias="retention")
    lifecycle: Lifecycle = Lifecycle()
    journeys: tuple[Journey, ...] = Field((), alias="journey")
    attribution: Attribution = Attribution()
    events: tuple[Event, ...] = Field((), alias="event")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for section, parts in (
            ("source", self.sources),
            ("funnel", self.funnels),
            ("retention", self.retentions),
            ("journey", self.journeys),
            ("event", self.events),
        ):
            if twice := _repeated(part.name for part in parts):
                raise ValueError(f'two [[{section}]] have the name "{twice}": each needs its own')
        if rule := next((each.match for each in self.pages if re.fullmatch(r"\*?/\*+", each.match)), None):
            raise ValueError(f'[[page]] "{rule}" would make one of all pages. Name those that are one')
        views: dict[str, str] = {}
        for event in self.events:
            if (other := views.setdefault(event.view, event.name)) != event.name:
                raise ValueError(
                    f'[[event]] "{other}" and "{event.name}" would both be the view marts.{event.view}: '
                    'give one of them another name with "as"'
                )
        keys: dict[str, str] = {}
        for source in self.sources:
            for key in {source.name, *source.aliases, *filter(None, (source.write_key, source.secret_key))}:
                if (other := keys.setdefault(key, source.name)) != source.name:
                    shown = "the same secret_key" if key == source.secret_key else f'"{key}" as a name, key or alias'
                    raise ValueError(f'[[source]] "{other}" and "{source.name}" both have {shown}: each needs its own')
            if source.secret_key and source.secret_key in (source.write_key, *source.aliases):
                raise ValueError(f'[[source]] "{source.name}": secret_key must differ from write_key, which is public')
        return self

    def definitions(self) -> dict[str, Any]:
        """What the models need, as plain values under the field names of transforms.definitions."""
        site = self.site.model_dump()
        own = {urlsplit(origin).hostname for each in self.sources for origin in each.origins}
        own |= {alias for each in self.sources for alias in each.aliases if "." in alias}
        site["hosts"] = list(
            dict.fromkeys([*self.site.hosts, *sorted(host for host in own if host and "*" not in host)])
        )
        return {
            "site": site,
            "pages": [_plain(rule) for rule in self.pages],
            "sessions": _plain(self.sessions, "gap", "cap", "heartbeat", "min_visit")
            | {
                "gap_us": _us(self.sessions.gap),
                "cap_us": _us(self.sessions.cap),
                "heartbeat_s": self.sessions.heartbeat // timedelta(seconds=1),
                "min_visit_s": self.sessions.min_visit // timedelta(seconds=1),
            },
            "identity": {
                "stitch_us": _us(timedelta(days=self.identity.stitch_days)),
                "max_users_per_device": self.identity.max_users_per_device,
                "id_blocklist": sorted({each.strip().lower() for each in self.identity.id_blocklist}),
            },
            "bots": _plain(self.bots),
            "friction": {
                "n": self.friction.n,
                "within_us": _us(self.friction.within),
                "within_px": self.friction.within_px,
                "quick_back_us": _us(timedelta(seconds=self.friction.quick_back_s)),
                "reversals": self.friction.reversals,
            },
            "funnels": [_funnel(funnel) for funnel in self.funnels],
            "retentions": [_retention(retention) for retention in self.retentions],
            "lifecycle": _plain(self.lifecycle),
            "journeys": [
                _plain(journey, "window", "edge_limit", "min_weight") | {"window_us": _us(journey.window)}
                for journey in self.journeys
            ],
            "attribution": _plain(self.attribution, "lookback") | {"lookback_us": _us(self.attribution.lookback)},
            "events": [
                {
                    "name": event.name,
                    "view": event.view,
                    "properties": [
                        {
                            "name": name,
                            "column": _column(name),
                            "type": event.properties.get(name, "any"),
                            "is_required": name in event.required,
                        }
                        for name in event.names()
                    ],
                }
                for event in self.events
            ],
        }


def load(home: Path, env: Mapping[str, str]) -> Config:
    """The settings of `home`: its footfall.toml, overlaid with `env` (FOOTFALL_SECTION__KEY).

    Raises ConfigError with a sentence for each problem found.
    """
    path = home / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"There is no {path}. Make one with: footfall init --home {home}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    return read(text, env)


def read(text: str, env: Mapping[str, str]) -> Config:
    """As `load`, of the text of a footfall.toml."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{FILE} is not TOML: {error}.") from None
    origin = _overlay(data, env)
    if sentences := list(_later(data, origin)):
        raise ConfigError("\n".join(sentences))
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A list with a bad member also counts as too short: the member says it better.
        lines = [
            _sentence(dict(each), data, origin)
            for each in problems
            if not any(other["loc"][: len(each["loc"])] == each["loc"] != other["loc"] for other in problems)
        ]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def starter() -> str:
    """The commented footfall.toml that `footfall init` writes."""
    return STARTER.read_text(encoding="utf-8")


def duration(text: str, name: str) -> timedelta:
    """The time that `text` ("10s", "30m", …) says; a ConfigError names the option `name` if it says none."""
    try:
        return _duration(text)
    except ValueError as error:
        raise ConfigError(f'{name} is "{text}" but {error}.') from None


def _covers(glob: str, other: str | None) -> bool:
    """Whether the glob matches all that `other`, a text or a glob, does."""
    return other is not None and re.fullmatch(".*".join(map(re.escape, glob.split("*"))), other, re.DOTALL) is not None


def _meet(glob: str, other: str) -> bool:
    """Whether a text that both globs match is likely: no if what stands before or behind their * differs."""
    ends = [(each.partition("*")[0], each.rpartition("*")[2]) for each in (glob, other)]
    (head, tail), (other_head, other_tail) = ends
    if "*" not in glob or "*" not in other:
        return _covers(glob, other) or _covers(other, glob)
    is_head = head.startswith(other_head) or other_head.startswith(head)
    return is_head and (tail.endswith(other_tail) or other_tail.endswith(tail))


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _safe(name: str) -> str:
    """A name as one that every tool takes unquoted: small letters, digits and underscores."""
    safe = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")[:50]
    return safe or f"x{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _column(name: str) -> str:
    """The column of a property in its event's view, beside those that every view has."""
    safe = _safe(name)
    return f"property_{safe}" if safe in VIEW_COLUMNS or safe[0].isdigit() else safe


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _plain(part: BaseModel, *without: str) -> dict[str, Any]:
    return part.model_dump(by_alias=True, exclude_none=True, exclude=set(without))


def _funnel(funnel: Funnel) -> dict[str, Any]:
    spans = funnel.step_window
    if spans is not None and len(spans) == 1:
        spans *= len(funnel.steps) - 1
    return _plain(funnel, "window", "step_window", "exclude", "on_exclude", "either_within_s") | {
        "window_us": None if funnel.window is None else _us(funnel.window),
        "step_window_us": None if spans is None else [_us(span) for span in spans],
        "either_within_us": funnel.either_within_s * 1_000_000,
        "exclude": [
            {"event": each.event, "from": each.from_, "to": each.to or len(funnel.steps)} for each in funnel.exclude
        ],
    }


def _retention(retention: Retention) -> dict[str, Any]:
    intervals = retention.brackets[-1][1] if retention.mode == "brackets" else retention.intervals
    return _plain(retention, "warmup", "intervals") | {
        "intervals": intervals,
        "warmup_days": retention.warmup // timedelta(days=1),
    }


def _overlay(data: dict[str, Any], env: Mapping[str, str]) -> dict[Path_, str]:
    """Set the keys that FOOTFALL_SECTION__KEY variables name in `data`; which variable set which key.

    A repeated section is found by its name: FOOTFALL_SOURCE__WEB__SECRET_KEY.
    """
    origin: dict[Path_, str] = {}
    problems = []
    for variable in sorted(env):
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        section, *keys = variable.removeprefix(PREFIX).lower().split("__")
        path: Path_ = (section, *keys)
        into: Any = data.setdefault(section, {})
        if isinstance(into, list) or section in _lists():
            entries = into if isinstance(into, list) else []
            names = {_variable_name(each.get("name")): at for at, each in enumerate(entries) if isinstance(each, dict)}
            at = names.get(keys[0]) if len(keys) == 2 else None
            if at is None:
                known = ", ".join(str(each.get("name")) for each in entries if isinstance(each, dict)) or "none"
                problems.append(
                    f"{variable} names no [[{section}]] of {FILE} (there: {known}). "
                    f"Write {PREFIX}{section.upper()}__NAME__KEY."
                )
                continue
            path, into, keys = (section, at, keys[1]), entries[at], keys[1:]
        while len(keys) > 1 and isinstance(into, dict) and keys[0] in _keys((section,)):
            into, keys = into.setdefault(keys[0], {}), keys[1:]
        if len(keys) != 1 or not keys[0] or not isinstance(into, dict):
            problems.append(f"{variable} is not of the form {PREFIX}SECTION__KEY.")
            continue
        into[keys[0]] = _value(env[variable])
        origin[path] = variable
    if problems:
        raise ConfigError("\n".join(problems))
    return origin


def _lists() -> set[str]:
    """The sections that TOML writes in double brackets."""
    return {field.alias for field in Config.model_fields.values() if field.alias and "tuple" in str(field.annotation)}


def _variable_name(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "_", str(name).lower())


def _value(text: str) -> object:
    if text[:1] in "[{" and text:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _later(data: Mapping[str, Any], origin: Mapping[Path_, str]) -> Iterable[str]:
    for section, value in data.items():
        if section in LATER[""]:
            yield f"{_where((section,), data, origin)} is not built yet. Remove it."
            continue
        for at, part in enumerate(value if isinstance(value, list) else [value]):
            for key in LATER.get(section, set()).intersection(part if isinstance(part, dict) else ()):
                place: Path_ = (section, at) if isinstance(value, list) else (section,)
                yield f'{_where(place, data, origin, key)}: "{key}" is not built yet. Remove it.'


def _where(path: Path_, data: Mapping[str, Any], origin: Mapping[Path_, str], key: str | None = None) -> str:
    """The place of a problem: the variable that brought it, or file, section, and which of several."""
    full = path if key is None else (*path, key)
    for length in range(len(full), 1, -1):
        if full[:length] in origin:
            return origin[full[:length]]
    if not path:
        return FILE
    section, *rest = path
    value = data.get(str(section))
    if not isinstance(value, list):
        text = f"{FILE}: [{section}]"
    else:
        text = f"{FILE}: [[{section}]]"
        if rest and isinstance(rest[0], int):
            part = value[rest[0]]
            name = part.get("name") or part.get("match") if isinstance(part, dict) else None
            text += f' "{name}"' if name is not None else f" number {rest[0] + 1}"
            rest = rest[1:]
    words = [f"number {each + 1}" if isinstance(each, int) else str(each) for each in rest]
    return f"{text}, {' '.join(words)}" if words else text


def _sentence(problem: Mapping[str, Any], data: Mapping[str, Any], origin: Mapping[Path_, str]) -> str:
    """One sentence of pydantic's account of a problem."""
    path: Path_ = tuple(problem["loc"])
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path, data, origin)
    if kind == "missing":
        if path == ("source",):
            return f'{FILE} needs at least one [[source]] with a "name".'
        return f'{_where(path[:-1], data, origin)} is without "{path[-1]}", which it must have.'
    if kind == "value_error" and len(path) == 0:
        return f"{FILE}: {context['error']}."
    if kind == "value_error" and isinstance(problem["input"], dict):
        return f"{_where(path, data, origin)}: {context['error']}."
    if path == ("source",) and kind == "too_short":
        return f'{FILE} needs at least one [[source]] with a "name".'
    given = problem["input"]
    shown = f" is {json.dumps(given, default=str, ensure_ascii=False)}" if isinstance(given, str | int | float) else ""
    if "secret" in str(path[-1]) or "password" in str(path[-1]):
        shown = ""
    parent_path, key = (path, "") if isinstance(path[-1], int) or len(path) == 1 else (path[:-1], str(path[-1]))
    place = _where(parent_path, data, origin, key or None)
    subject = f'{place}: "{key}"' if key and not place.startswith(PREFIX) else place
    rule = _rule(kind, context, str(problem["msg"]), key)
    if kind == "literal_error" and isinstance(given, str):
        close = difflib.get_close_matches(given, re.findall(r"'([^']+)'", context["expected"]), 1, 0.6)
        rule += f'. Did you mean "{close[0]}"?' if close else "."
        return f"{subject}{shown} but {rule}" if shown else f"{subject} {rule}"
    return f"{subject}{shown} but {rule}." if shown else f"{subject} {rule}."


def _unknown(path: Path_, data: Mapping[str, Any], origin: Mapping[Path_, str]) -> str:
    key, allowed = str(path[-1]), _keys(path[:-1])
    name, kind = ("[{}]", "section") if len(path) == 1 else ('"{}"', "key")
    place = next((origin[each] for each in origin if each[: len(path)] == path), _where(path[:-1], data, origin))
    close = difflib.get_close_matches(key, allowed, 1, 0.6)
    hint = f"Did you mean {name.format(close[0])}?" if close else f"It may have: {', '.join(allowed)}."
    return f"{place} has no {kind} {name.format(key)}. {hint}"


def _rule(kind: str, context: Mapping[str, Any], message: str, key: str) -> str:
    patterns = {
        "currency": 'must be three capital letters such as "EUR"',
        "value": 'must be "count" or "sum(name of a property)"',
        "memory_limit": 'must be a size such as "4GB"',
        "topic": "must be letters, digits, dots, dashes or underscores, 249 at most",
        "name": "must be letters, digits, dots, dashes or underscores, 100 at most",
    }
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            allowed = re.findall(r"'([^']+)'", context["expected"])
            return "must be one of " + ", ".join(f'"{each}"' for each in allowed)
        case "int_parsing" | "int_type" | "int_from_float":
            return "must be a whole number"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "string_type":
            return "must be text in quotes"
        case "date_type" | "date_parsing" | "date_from_datetime_parsing" | "date_from_datetime_inexact":
            return "must be a date such as 2026-01-31"
        case "float_parsing" | "float_type":
            return "must be a number"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "string_pattern_mismatch":
            return patterns.get(key, "has characters that are not allowed")
        case "tuple_type" | "list_type":
            return "must be a list in brackets"
        case "model_type" | "dict_type" | "model_attributes_type":
            return "must be a table of keys"
        case "too_short":
            return f"must have at least {context['min_length']}"
        case "too_long":
            return f"must have at most {context['max_length']}"
    return message[:1].lower() + message[1:]


def _keys(path: Path_) -> list[str]:
    """The keys that the table at `path` may have, as people write them."""
    model: type[BaseModel] = Config
    for step in path:
        if isinstance(step, int):
            continue
        field = next((each for name, each in model.model_fields.items() if (each.alias or name) == step), None)
        inner = _model(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model(each))), None)
