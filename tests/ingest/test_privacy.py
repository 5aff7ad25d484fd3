"""What is left out before anything is kept."""

from __future__ import annotations

import time
from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest

from ingest.privacy import client_ip, cut_ip, read_address
from ingest.salt import salt_of


@pytest.mark.parametrize(
    ("sent", "kept", "dropped_n"),
    [
        ("https://a.example/p", "https://a.example/p", 0),
        ("https://a.example/p?a=1&b=%20x&&c", "https://a.example/p?a=1&b=%20x&&c", 0),
        ("https://a.example/?utm_source=email&mailing=3", "https://a.example/?utm_source=email&mailing=3", 0),
        ("https://a.example/?email=x", "https://a.example/", 1),
        ("https://a.example/?userEmail=x&EMAIL=y&e-mail=z&a=1", "https://a.example/?a=1", 3),
        ("https://a.example/?q=ann%40example.com&r=ann@example.com", "https://a.example/", 2),
        ("https://a.example/?access_token=1&resetToken=2&password=3", "https://a.example/", 3),
        ("https://a.example/?n=%2B31%206%201234%205678&p=1234567890", "https://a.example/?p=1234567890", 1),
        ("https://a.example/?j=eyJhbGciOi.eyJzdWIi.c2ln", "https://a.example/", 1),
        ("https://ann:pw@a.example/p", "https://a.example/p", 1),
        ("https://a.example/u/ann@example.com/x", "https://a.example/u/:mail/x", 1),
        ("https://a.example/#access_token=1&b=2", "https://a.example/#b=2", 1),
        ("https://a.example/#part", "https://a.example/#part", 0),
        ("/relative?token=1", "/relative", 1),
        ("?search=1&phone=2", "?search=1", 1),
        ("", "", 0),
        ("https://a.example/?" + "a=1&" * 5000, "https://a.example/", 1),
    ],
)
def test_addresses_lose_pii_and_nothing_else(sent: str, kept: str, dropped_n: int) -> None:
    address = read_address(sent)
    assert (address.url, address.dropped_n) == (kept, dropped_n)


@pytest.mark.parametrize(
    "url",
    [
        "https://x/?q=" + "a." * 8000 + "@",
        "https://x/?q=" + "@a" * 8000,
        "https://x/?q=%2B" + "1 " * 8000,
        "https://x/?q=eyJ" + "a." * 8000,
        "https://x/" + "a." * 100_000 + "@",
        "https://x/" + "a@" * 100_000,
        "https://x/#" + "a.@&" * 60_000,
        "//" + "a@" * 100_000,
        "https://x/?" + "&" * 250_000,
    ],
)
def test_no_address_takes_long(url: str) -> None:
    begun = time.process_time()
    read_address(url)
    assert time.process_time() - begun < 0.25


def test_the_query_tells_campaign_and_click() -> None:
    url = "https://a.example/?utm_source=s&utm_medium=m&utm_campaign=c&utm_term=&gclid=g&fbclid=f"
    address = read_address(url)
    assert address.campaign == {"source": "s", "medium": "m", "name": "c"}
    assert address.click_id == {"name": "gclid", "value": "g"}
    assert address.url == url
    bare = read_address(url, drop_click_ids=True)
    assert bare.click_id is None
    assert bare.url == "https://a.example/?utm_source=s&utm_medium=m&utm_campaign=c&utm_term="


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("fbclid=f&gclid=g", "gclid"),
        ("gclid=g&fbclid=f", "gclid"),
        ("fbclid=f&ttclid=t", "ttclid"),
        ("ttclid=t&msclkid=m", "msclkid"),
        ("gclid=&fbclid=f", "fbclid"),
        ("FBCLID=f", "fbclid"),
    ],
)
def test_of_several_click_ids_the_one_that_says_most_counts(query: str, said: str) -> None:
    click_id = read_address(f"https://a.example/?{query}").click_id
    assert click_id is not None
    assert click_id["name"] == said


@pytest.mark.parametrize(
    ("ip", "cut"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1234:5678::1", "2001:db8:1234::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("nonsense", None),
        ("", None),
    ],
)
def test_addresses_are_cut(ip: str, cut: str | None) -> None:
    assert cut_ip(ip) == cut


def test_a_forwarded_address_is_the_right_most_hop_that_is_no_proxy() -> None:
    proxies = (ip_network("10.0.0.0/8"),)
    assert client_ip("198.51.100.1", "6.6.6.6", ()) == "198.51.100.1"
    assert client_ip("198.51.100.1", "6.6.6.6", proxies) == "198.51.100.1"
    assert client_ip("10.0.0.1", "6.6.6.6, 203.0.113.7, 10.0.0.2", proxies) == "203.0.113.7"
    assert client_ip("10.0.0.1", "6.6.6.6, nonsense, 10.0.0.2", proxies) == "10.0.0.2"
    assert client_ip("10.0.0.1", "203.0.113.7:4711", proxies) == "203.0.113.7"
    assert client_ip("10.0.0.1", None, proxies) == "10.0.0.1"


def test_the_salt_lasts_a_day_and_then_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "daily.salt"
    first = salt_of(path, date(2026, 11, 22))
    assert salt_of(path, date(2026, 11, 22)) == first
    assert path.stat().st_mode & 0o777 == 0o600
    second = salt_of(path, date(2026, 11, 23))
    assert second != first
    assert first.hex() not in "".join(p.read_text() for p in tmp_path.iterdir())
    assert salt_of(path, date(2026, 11, 22)) != first
    path.write_text("torn")
    assert len(salt_of(path, date(2026, 11, 22))) == 32
