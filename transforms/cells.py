"""How a cell of a rule file is read: text in, value out; ValueError (the end of a sentence) where wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation

CONDITION_COLUMNS = {
    "source": "varchar",
    "medium": "varchar",
    "campaign": "varchar",
    "site_kind": "varchar",
    "is_paid": "boolean",
    "is_shop_campaign": "boolean",
}
CONDITION_FUNCTIONS = ("contains", "starts_with", "ends_with", "regexp_matches", "lower", "length")
CONDITION_WORDS = ("and", "or", "not", "in", "like", "is", "null", "true", "false")
CONDITION_TOKEN = re.compile(r"\s*(?:'(?:[^']|'')*'|\d+|(?P<word>[A-Za-z_]\w*)|<>|!=|<=|>=|[=<>(),])\s*")


def text(cell: str) -> str:
    if not cell:
        raise ValueError("is empty, but must be given")
    return cell


def lower(cell: str) -> str:
    return text(cell).lower()


def optional(cell: str) -> str | None:
    return cell or None


def flag(cell: str) -> bool:
    if cell.lower() not in ("true", "false"):
        raise ValueError(f"is {cell!r}, but must be true or false")
    return cell.lower() == "true"


def number(cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", cell):
        raise ValueError(f"is {cell!r}, but must be a whole number of at most six digits")
    return int(cell)


def rate(cell: str) -> Decimal:
    try:
        rate = Decimal(cell)
    except InvalidOperation:
        rate = Decimal(0)
    if not rate.is_finite() or not Decimal("1e-8") <= rate < Decimal("1e10"):
        raise ValueError(f"is {cell!r}, but must be a number above 0, such as 1.0832")
    return rate


def day(cell: str) -> date:
    try:
        return date.fromisoformat(cell)
    except ValueError:
        raise ValueError(f"is {cell!r}, but must be a date such as 2026-11-22") from None


def currency(cell: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", cell):
        raise ValueError(f"is {cell!r}, but must be three capitals, such as USD")
    return cell


def domain(cell: str) -> str:
    domain = cell.lower()
    if not re.fullmatch(r"[^\s/:*]+(\.\*)?", domain):
        raise ValueError(f"is {cell!r}, but must be a bare domain such as example.org, or example.* for all countries")
    return domain


def one_of(*words: str) -> Callable[[str], str]:
    def read(cell: str) -> str:
        if cell not in words:
            raise ValueError(f"is {cell!r}, but must be one of {', '.join(words)}")
        return cell

    return read


def condition(cell: str) -> str:
    """A channel condition: only the words of the closed lists above, so it can read and do nothing else."""
    at = 0
    while at < len(cell):
        token = CONDITION_TOKEN.match(cell, at)
        if not token:
            raise ValueError(f"has {cell[at : at + 12]!r}, which conditions do not know")
        word = (token["word"] or "and").lower()
        if word not in CONDITION_COLUMNS and word not in CONDITION_FUNCTIONS and word not in CONDITION_WORDS:
            allowed = ", ".join((*CONDITION_COLUMNS, *CONDITION_FUNCTIONS, *CONDITION_WORDS))
            raise ValueError(f"has the word {token['word']!r}; it may only use {allowed}")
        at = token.end()
    return text(cell)
