"""Abuse limits: what is allowed on the long run and at once."""

from __future__ import annotations

from ingest.rate import MANY, Rate


def test_without_a_limit_everything_passes() -> None:
    assert all(Rate(None).allows("a", 10**6, 0.0) for _ in range(10))


def test_a_burst_passes_then_the_rate_holds_and_others_are_untouched() -> None:
    rate = Rate(10)
    assert sum(rate.allows("a", 1, 0.0) for _ in range(100)) == 50
    assert sum(rate.allows("a", 1, 1.0) for _ in range(100)) == 10
    assert rate.allows("b", 1, 1.0)


def test_a_batch_larger_than_the_bucket_passes_once_and_is_owed() -> None:
    rate = Rate(10)
    assert rate.allows("a", 200, 0.0)
    assert not rate.allows("a", 1, 14.0)
    assert rate.allows("a", 1, 16.0)


def test_many_addresses_do_not_fill_the_memory() -> None:
    rate = Rate(1)
    for n in range(3 * MANY):
        rate.allows(str(n), 1, n * 0.001)
    assert len(rate._buckets) <= MANY + 1
