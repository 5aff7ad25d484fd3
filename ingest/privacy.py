"""What of a visitor is left out before anything is kept: addresses cut, PII out of URLs, consent."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote_plus

import msgspec

LONGEST_QUERY: Final = 16 * 1024
PII_WORDS: Final = frozenset(
    ("email", "mail", "token", "password", "passwd", "passwort", "pwd", "phone", "telephone", "tel", "mobile")
) | {"msisdn", "secret", "jwt", "ssn", "iban"}
PII_ENDINGS: Final = ("email", "token", "password", "phone")
# In the order in which they say more of where a click came from: fbclid stands on every link that Facebook shows.
CLICK_IDS: Final = (
    *("gclid", "gbraid", "wbraid", "msclkid", "dclid", "ttclid", "twclid", "li_fat_id", "yclid", "epik"),
    "fbclid",
)
UTM: Final = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_campaign": "name",
    "utm_term": "term",
    "utm_content": "content",
}

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_USER = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)[^/@]*@")
# One character before the @ is enough: more would be tried again from every place of a long text.
_MAIL = re.compile(r"[^\s@/?#&=]@[^\s@/?#&=.]+\.[^\s@/?#&=]")
_PHONE = re.compile(r"(?:\+|00)[ ]?\d(?:[ ().-]?\d){6,14}")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?:sk|pk|ghp|xox[abp])[_-]\w{16,}")

Network = IPv4Network | IPv6Network


class Address(msgspec.Struct, frozen=True):
    """A URL without PII, how many pieces were dropped, and what its query says of the campaign.

    `click_id`: the name and value of the ad's parameter; of several, the one that says most.
    """

    url: str
    dropped_n: int = 0
    campaign: dict[str, str] | None = None
    click_id: dict[str, str] | None = None


def is_pii(key: str, value: str) -> bool:
    """Whether a query parameter looks like a mail address, a token, a password or a phone number."""
    return (
        key.lower().endswith(PII_ENDINGS)
        or any(word.lower() in PII_WORDS for word in _WORDS.findall(key))
        or _MAIL.search(value) is not None
        or _PHONE.fullmatch(value.strip()) is not None
        or _TOKEN.match(value) is not None
    )


def is_bare(url: str) -> bool:
    """Whether a URL has no part in which the PII rule looks: no query, no fragment, no `@`."""
    return not ("?" in url or "#" in url or "@" in url or "%40" in url)


def read_address(url: str, *, drop_click_ids: bool = False) -> Address:
    """The URL after the PII rule; other parameters keep their bytes and their order."""
    if is_bare(url):
        return Address(url)
    return _read_address(url, drop_click_ids)


@lru_cache(maxsize=4096)
def _read_address(url: str, drop_click_ids: bool) -> Address:
    rest, hash_mark, fragment = url.partition("#")
    path, question_mark, query = rest.partition("?")
    dropped_n = 0
    if "@" in path or "%40" in path:
        path, user_n = _USER.subn(r"\1", path)
        parts = path.replace("%40", "@").split("/")
        safe_parts = [":mail" if _MAIL.search(part) else part for part in parts]
        dropped_n += user_n + sum(a is not b for a, b in zip(parts, safe_parts, strict=True))
        path = "/".join(safe_parts)
    campaign: dict[str, str] = {}
    click_id: dict[str, str] | None = None
    if len(query) > LONGEST_QUERY:
        query, question_mark, dropped_n = "", "", dropped_n + 1
    kept = []
    for piece in query.split("&") if query else ():
        key, _, value = piece.partition("=")
        key, value = unquote_plus(key), unquote_plus(value)
        if is_pii(key, value):
            dropped_n += 1
            continue
        lower = key.lower()
        if lower in CLICK_IDS:
            if drop_click_ids:
                continue
            if value and (click_id is None or CLICK_IDS.index(lower) < CLICK_IDS.index(click_id["name"])):
                click_id = {"name": lower, "value": value}
        elif lower in UTM and value:
            campaign.setdefault(UTM[lower], value)
        kept.append(piece)
    if fragment and ("=" in fragment or "@" in fragment or "%40" in fragment):
        pieces = fragment[:LONGEST_QUERY].split("&")
        safe = [piece for piece in pieces if not _is_pii_piece(piece)]
        dropped_n += len(pieces) - len(safe)
        fragment = "&".join(safe)
    query = "&".join(kept)
    clean = path + (question_mark if query else "") + query + (hash_mark if fragment else "") + fragment
    return Address(clean, dropped_n, campaign or None, click_id)


def _is_pii_piece(piece: str) -> bool:
    key, equals, value = piece.partition("=")
    return is_pii(unquote_plus(key), unquote_plus(value if equals else key))


@lru_cache(maxsize=4096)
def cut_ip(ip: str) -> str | None:
    """The /24 of an IPv4 and the /48 of an IPv6 address; None for what is no address."""
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(ip_network((address, 24 if isinstance(address, IPv4Address) else 48), strict=False))


def client_ip(peer: str, forwarded_for: str | None, trusted: tuple[Network, ...]) -> str:
    """The right-most hop that is no trusted proxy; without trusted proxies the peer, whatever headers say."""
    if not trusted or forwarded_for is None:
        return peer
    hop = peer
    for earlier in reversed([peer_of(text) for text in forwarded_for.split(",")]):
        if not _is_trusted(hop, trusted):
            break
        try:
            ip_address(earlier)
        except ValueError:
            break
        hop = earlier
    return hop


def peer_of(text: str) -> str:
    """The address in `host:port`, `[v6]:port` or a bare address."""
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_trusted(ip: str, trusted: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in trusted)


def daily_id(salt: bytes, *, ip: str, ua: str, source: str) -> str:
    """The cookieless id of a visitor: HMAC-SHA-256 under the salt of the day, cut to 128 bits."""
    message = "\x1f".join((source, ip, ua)).encode("utf-8", "replace")
    return hmac.new(salt, message, hashlib.sha256).hexdigest()[:32]


def privacy_signals(headers: Mapping[str, str]) -> dict[str, bool]:
    """Which of Global Privacy Control and Do Not Track the browser sends, each as true."""
    signals = {}
    if headers.get("sec-gpc") == "1":
        signals["gpc"] = True
    if headers.get("dnt") == "1":
        signals["dnt"] = True
    return signals
