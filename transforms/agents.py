"""What a user agent string tells: device, browser, system, and whether a program sent it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

import crawleruseragents  # type: ignore[import-untyped]
import polars as pl
import ua_parser

from transforms.rules import BOT_KINDS, BotRule

SCHEMA = {
    "ua": pl.String,
    "device": pl.String,
    "browser": pl.String,
    "os": pl.String,
    "is_bot": pl.Boolean,
    "bot_kind": pl.String,
    "bot_rule": pl.String,
}
UNKNOWN = ("", "-")  # sent empty, or a server log's word for it

# What the tags of the published list mean in our kinds; all other tags are crawlers.
KINDS = {
    "ai-crawler": "ai_agent",
    "monitoring": "monitor",
    "http-library": "script",
    "browser-automation": "script",
}

# In this order; the first that matches names the device.
DEVICES = (
    (
        "tv",
        r"Smart-?TV|SmartTv|HbbTV|Apple ?TV|Google ?TV|Android TV|Web0S|webOS\.TV|NetCast|BRAVIA|Roku|CrKey"
        r"|\bAFT[A-Z]|\bDTV\b|Tizen.*\bTV\b|Opera TV",
    ),
    ("other", r"PlayStation|Xbox|Nintendo|Watch ?OS|Apple ?Watch"),
    (
        "tablet",
        r"iPad|\bTablet\b(?! PC)|PlayBook|Kindle|\bKF[A-Z]{2,}|\bSM-[TX]\d|Nexus (?:7|9|10)\b"
        r"|Silk/(?!.*Mobile)|^Mozilla(?=.*Android)(?!.*Mobi)",
    ),
    (
        "mobile",
        r"Mobi|iPhone|iPod|Android|Windows Phone|Windows CE|BlackBerry|\bBB10\b|Opera Mini|MIDP|Symbian"
        r"|J2ME|KaiOS|MAUI|Maui|SAMSUNG-|Nokia",
    ),
)
DESKTOP_OS = re.compile(
    r"Windows|Mac|Linux|Ubuntu|Chrome ?OS|\w*BSD|Debian|Fedora|Red Hat|SUSE|CentOS|Mint|Solaris|OS/2"
)


def lists() -> str:
    """Names and versions of the published lists: part of the definitions, as they decide who is a bot."""
    names = ("crawler-user-agents", "ua-parser", "ua-parser-builtins")
    return ", ".join(f"{name} {version(name)}" for name in names)


def describe(agents: Sequence[str | None], rules: Sequence[BotRule]) -> pl.DataFrame:
    """One row per distinct string of `agents`, in order of first appearance, with the columns of SCHEMA.

    device is desktop, mobile, tablet, tv or other (consoles, watches, programs); browser and os are
    ua-parser's families; each is null where nothing is known. A bot is what a pattern of crawler-user-agents
    or a row of `rules` (rules.bots: `*` is any text, any case) names, asked in this order: the first gives
    bot_rule ('crawler-user-agents: Googlebot', 'rules.bots: spider'). Of all kinds that the two give, the
    first of BOT_KINDS is bot_kind. Null is left out, and an empty string is no bot here: it is one only on a
    live event of a browser client (semantics.md A6), which the caller knows. About 0.7 ms a string.
    """
    distinct = [ua for ua in dict.fromkeys(agents) if ua is not None]
    published = _published(distinct)
    own = [(rule, _glob(rule.agent)) for rule in rules]
    rows: list[tuple[str | bool | None, ...]] = []
    for ua in distinct:
        if ua.strip() in UNKNOWN:
            rows.append((ua, None, None, None, False, None, None))
            continue
        named = published.get(ua, [])
        rule = next((rule for rule, pattern in own if pattern.fullmatch(ua)), None)
        kinds = {kind for _, kind in named} | ({rule.kind} if rule else set())
        kind = next((kind for kind in BOT_KINDS if kind in kinds), None)
        by = None
        if named:
            # Of several patterns the one that gave the kind says most.
            by = "crawler-user-agents: " + next((name for name, its in named if its == kind), named[0][0])
        elif rule:
            by = f"rules.bots: {rule.name}"
        browser, os = _families(ua)
        rows.append((ua, _device(ua, os), browser, os, kind is not None, kind, by))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _published(agents: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """The strings that the published list names, each with the (name, kind) of all patterns that match."""
    patterns = _patterns()
    # One pass with all patterns in one finds the few; only these are asked which pattern it was.
    every = "|".join(f"(?:{pattern.pattern})" for pattern, _, _ in patterns)
    texts = pl.Series(agents, dtype=pl.String)
    suspects = texts.filter(texts.str.contains(every))
    return {ua: [(name, kind) for pattern, name, kind in patterns if pattern.search(ua)] for ua in suspects}


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str, str], ...]:
    found = []
    for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA:
        kinds = {KINDS.get(tag, "crawler") for tag in entry.get("tags", ())}
        kind = next((kind for kind in BOT_KINDS if kind in kinds), "crawler")
        found.append((re.compile(entry["pattern"]), _readable(entry["pattern"]), kind))
    return tuple(found)


def _readable(pattern: str) -> str:
    """A pattern of the published list as a name: [cC]laude[bB]ot is ClaudeBot, Googlebot\\/ is Googlebot."""
    name = re.sub(r"\[(\w)(\w)\]", lambda pair: max(pair[1], pair[2]).upper(), pattern)
    return re.sub(r"^\^|\\", "", name).rstrip("/ $")


def _glob(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in glob.split("*")), re.IGNORECASE | re.DOTALL)


@cache
def _parser() -> ua_parser.Parser:
    # The pure resolver on purpose: ua_parser's own choice, and with it some answers, depends on what else is
    # installed.
    return ua_parser.Parser(ua_parser.BasicResolver(ua_parser.load_builtins()))


def _families(ua: str) -> tuple[str | None, str | None]:
    # The device domain is left out: a list of models, as dear as the rest together.
    result = _parser()(ua, ua_parser.Domain.USER_AGENT | ua_parser.Domain.OS)
    browser = result.user_agent.family if result.user_agent else None
    return browser, result.os.family if result.os else None


@cache
def _devices() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((device, re.compile(pattern)) for device, pattern in DEVICES)


def _device(ua: str, os: str | None) -> str:
    for device, pattern in _devices():
        if pattern.search(ua):
            return device
    if os == "iOS":
        return "mobile"
    return "desktop" if os and DESKTOP_OS.match(os) else "other"
