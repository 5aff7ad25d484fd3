"""Group commit: who waits is told, in groups, and only when it is true."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from ingest.commit import CROWD, GROUP_BYTES, PACE_SECONDS, GroupCommit
from ingest.event import Fate
from ingest.tally import Tally

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


class HeldLog:
    """Appends only when it is let go; fails when told so."""

    def __init__(self) -> None:
        self.groups: list[tuple[list[bytes], datetime, datetime]] = []
        self.go = threading.Semaphore(0)
        self.error: Exception | None = None

    def append(self, lines: Sequence[bytes], first: datetime, last: datetime, /) -> None:
        assert self.go.acquire(timeout=5)
        if self.error:
            raise self.error
        self.groups.append((list(lines), first, last))


def test_what_comes_while_one_group_is_written_shares_the_next() -> None:
    async def scenario() -> None:
        log = HeldLog()
        commit = GroupCommit(log, asyncio.get_running_loop())
        counted: list[int] = []
        first = commit.store([b"a"], NOW, lambda: counted.append(1))
        await asyncio.sleep(0.05)
        second = commit.store([b"b"], NOW + timedelta(seconds=1), lambda: counted.append(2))
        third = commit.store([b"c", b"d"], NOW - timedelta(hours=1), lambda: counted.append(3))
        await asyncio.sleep(0.05)
        assert not first.done()
        log.go.release()
        await first
        assert counted == [1]
        assert not second.done()
        log.go.release()
        await asyncio.gather(second, third)
        assert counted == [1, 2, 3]
        assert [lines for lines, _, _ in log.groups] == [[b"a"], [b"b", b"c", b"d"]]
        assert log.groups[1][1:] == (NOW - timedelta(hours=1), NOW + timedelta(seconds=1))
        commit.close()

    asyncio.run(scenario())


def test_an_error_reaches_each_of_its_group_and_no_other() -> None:
    async def scenario() -> None:
        log = HeldLog()
        commit = GroupCommit(log, asyncio.get_running_loop())
        log.error = OSError("full")
        counted: list[int] = []
        waiting = [commit.store([b"a"], NOW, lambda: counted.append(1)) for _ in range(3)]
        log.go.release()
        for future in waiting:
            with pytest.raises(OSError, match="full"):
                await future
        log.error = None
        log.go.release()
        await commit.store([b"b"], NOW, lambda: counted.append(2))
        assert counted == [2]
        commit.close()

    asyncio.run(scenario())


def test_one_client_after_the_other_never_waits_for_a_crowd() -> None:
    async def scenario() -> None:
        log = HeldLog()
        loop = asyncio.get_running_loop()
        commit = GroupCommit(log, loop)
        log.go.release(1000)
        times = []
        for _ in range(300):
            begun = loop.time()
            await commit.store([b"a"], NOW, lambda: None)
            times.append(loop.time() - begun)
        assert sorted(times)[30] < PACE_SECONDS
        await asyncio.gather(*(commit.store([b"a"], NOW, lambda: None) for _ in range(CROWD)))
        begun = loop.time()
        await commit.store([b"a"], NOW, lambda: None)
        assert loop.time() - begun > PACE_SECONDS / 2
        commit.close()

    asyncio.run(scenario())


def test_large_requests_go_in_groups_of_their_own_and_who_left_is_still_counted() -> None:
    async def scenario() -> None:
        log = HeldLog()
        commit = GroupCommit(log, asyncio.get_running_loop())
        counted: list[int] = []
        large = b"x" * (GROUP_BYTES + 1)
        waiting = [commit.store([large], NOW, lambda: counted.append(1)) for _ in range(2)]
        waiting[0].cancel()
        log.go.release(2)
        await waiting[1]
        assert len(log.groups) == 2
        assert counted == [1, 1]
        commit.close()

    asyncio.run(scenario())


def test_a_tally_sums_its_workers_and_knows_only_closed_reasons() -> None:
    tally = Tally(["web"], ["segment"], workers=2)
    tally.claim(0)
    tally.count(Fate.STORED, "web", "segment", n=3)
    tally.claim(1)
    tally.count(Fate.STORED, "web", "segment", n=4)
    tally.count(Fate.REJECTED, "web", "segment", "bad_time")
    assert tally.totals() == {
        ("stored", "web", "segment", ""): 7,
        ("rejected", "web", "segment", "bad_time"): 1,
    }
    with pytest.raises(KeyError):
        tally.count(Fate.REJECTED, "web", "segment", "no_such_reason")
