"""The command line: what people type, what they are told, and one sentence for whatever goes wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import IO
from unittest.mock import ANY

import pytest

import footfall
import steps

ROOT = Path(__file__).parents[1]
SESSIONS = "select sum(session_n)::int as n from marts.traffic_daily"
QUESTIONS = (
    "describe core.sessions",
    "show all tables",
    "select now()",
    "from meta.build_info",
    "explain select 1",
    "with a as (select 1 as b) select b from a; ",
    "select 1 where false",
)
COMMANDS = ("init", "demo", "collect", "land", "build", "publish", "report", "run", "funnel", "sql", "doctor", "import")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Type = Callable[..., Said]


@pytest.fixture
def type_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type a command, in this process."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FOOTFALL_HOME", raising=False)

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["footfall", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            footfall.main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(code, said.out, said.err)

    return run


def make_home(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "footfall.toml").write_text(
        '[site]\nname = "shop"\n[[source]]\nname = "web"\nwrite_key = "pk"\n'
        '[[funnel]]\nname = "buy"\nsteps = [{ event = "Seen" }, { event = "Bought" }]\n'
    )
    (folder / "secret.key").write_text("ab" * 32)
    (folder / "secret.key").chmod(0o600)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


def lines_of(path: Path, count: int) -> Path:
    names = ("Seen", "Bought")
    path.write_text(
        "".join(
            json.dumps(
                {
                    "type": "track",
                    "event": names[n % 2],
                    "messageId": f"m{n}",
                    "anonymousId": f"d{n // 4}",
                    "timestamp": f"2026-03-{n % 28 + 1:02d}T10:00:{n % 60:02d}Z",
                }
            )
            + "\n"
            for n in range(count)
        )
    )
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A home that went all the way once, and what each command said."""
    folder = tmp_path_factory.mktemp("done")
    home = make_home(folder / "home")
    said = {}
    for words in (
        ["import", "jsonl", str(lines_of(folder / "a.jsonl", 400)), "--source", "web"],
        ["land"],
        ["build"],
        ["publish"],
        ["report"],
    ):
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), suppress(SystemExit):
            patch.setattr(sys, "argv", ["footfall", *words, "--home", str(home)])
            footfall.main()
        said[words[0]] = out.getvalue()
    yield home, said
    shutil.rmtree(folder)


def start(*words: object, **env: str) -> subprocess.Popen[str]:
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "footfall.py"), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
    )


def await_line(process: subprocess.Popen[str], stream: IO[str], text: str, seconds: float = 60) -> str:
    seen = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        line = stream.readline()
        if not line:
            break
        seen.append(line)
        if text in line:
            return line
    process.kill()
    raise AssertionError(f"{text!r} was not said, but: {''.join(seen)}")


# --- what is typed ----------------------------------------------------------------------------------------


def test_help_lists_the_commands(type_: Type) -> None:
    said = type_("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", said.out)


def test_the_version_is_said(type_: Type) -> None:
    assert type_("--version").out == f"footfall {footfall.__version__}\n"


def test_init_makes_a_home_that_others_cannot_read(type_: Type, tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    said = type_("init", "--home", home)
    assert said.code == 0
    assert "Next: footfall collect" in said.out
    assert (home / "secret.key").stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex((home / "secret.key").read_text())) == 32
    assert (home / "log").stat().st_mode & 0o777 == 0o700
    assert "[[source]]" in (home / "footfall.toml").read_text()


def test_init_overwrites_nothing(type_: Type, home: Path) -> None:
    before = {path: path.read_bytes() for path in home.iterdir() if path.is_file()}
    said = type_("init", "--home", home)
    assert said.code == 1
    assert "exists already; nothing was changed" in said.err
    assert {path: path.read_bytes() for path in home.iterdir() if path.is_file()} == before


def test_a_home_may_come_from_the_environment(type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTFALL_HOME", str(home))
    assert "Landed 0 events" in type_("land").out


def test_each_step_says_what_it_did(done: tuple[Path, dict[str, str]]) -> None:
    home, said = done
    assert "of 400 lines 400 stored, 0 rejected, 0 declined" in said["import"]
    assert "Landed 400 events: 400 new, 0 repeated, 0 rejected" in said["land"]
    assert re.search(r"Built \d+ models from 400 events", said["build"])
    assert "to " + str(home / "bi.duckdb") in said["publish"]
    assert (home / "report.html").stat().st_size > 10_000


def test_twice_is_the_same_as_once(type_: Type, done: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    home = tmp_path / "copy"
    shutil.copytree(done[0], home)
    lines = lines_of(tmp_path / "again.jsonl", 400)
    assert type_("import", "jsonl", lines, "--source", "web", "--home", home).code == 0
    assert "400 events: 0 new, 400 repeated" in type_("land", "--home", home).out
    assert "Landed 0 events" in type_("land", "--home", home).out
    assert type_("build", "--home", home).code == 0
    before, after = (type_("sql", SESSIONS, "--csv", "--home", each).out.split() for each in (done[0], home))
    assert int(before[1]) > 0
    assert after == before


# --- funnel -----------------------------------------------------------------------------------------------


def test_a_funnel_is_asked_without_a_definition(type_: Type, home: Path, tmp_path: Path) -> None:
    begin = datetime.now(UTC) - timedelta(days=5)
    told = [
        {
            "type": "track",
            "event": name,
            "anonymousId": f"d{n % 8}",
            "timestamp": f"{begin + timedelta(minutes=n):%FT%TZ}",
        }
        for n, name in enumerate(["Seen"] * 8 + ["Bought"] * 2)
    ]
    events = tmp_path / "events.jsonl"
    events.write_text("".join(json.dumps({**each, "properties": {"plan": "pro"}}) + "\n" for each in told))
    for words in (["import", "jsonl", events, "--source", "web"], ["land"], ["build"], ["publish"]):
        assert type_(*words, "--home", home).code == 0
    said = type_("funnel", "Seen > Bought", "--window", "1d", "--by", "plan", "--home", home)
    assert said.code == 0
    line = next(line for line in said.out.splitlines() if "Bought" in line)
    assert [cell.strip() for cell in line.split("│")] == ["2", "Bought", "2", ANY, "25.0%", "25.0%", "8.0 min"]
    assert "pro" in said.out
    assert "each followed for 1d" in said.out
    open_ = type_("funnel", "Seen > Bought", "--window", "9d", "--home", home)
    assert "No 9d are over yet" in open_.out
    wrong = type_("funnel", "Seen > Bougt", "--home", home)
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert 'Did you mean "Bought"?' in wrong.err


def test_a_funnel_over_no_events_says_what_to_do(type_: Type, done: tuple[Path, dict[str, str]]) -> None:
    assert "raise events_days" in type_("funnel", "Seen > Bought", "--home", done[0]).err


# --- sql --------------------------------------------------------------------------------------------------


def test_sql_prints_a_table_or_csv(type_: Type, done: tuple[Path, dict[str, str]]) -> None:
    query = "select 'a,\"b' as text, 1.50 as amount, null as nothing, '[red]' as tag"
    table = type_("sql", query, "--home", done[0])
    assert table.code == 0
    assert "1.50" in table.out
    assert "null" in table.out
    assert "[red]" in table.out
    assert "1 row" in table.out
    read = list(csv.reader(io.StringIO(type_("sql", query, "--csv", "--home", done[0]).out)))
    assert read == [["text", "amount", "nothing", "tag"], ['a,"b', "1.50", "", "[red]"]]


def test_sql_prints_rows_too_wide_for_the_terminal_as_blocks(type_: Type, done: tuple[Path, dict[str, str]]) -> None:
    said = type_("sql", "from marts.traffic_totals limit 1", "--home", done[0])
    (line,) = [line for line in said.out.splitlines() if "engaged_session_n" in line]
    assert line.split("│")[1].strip().isdigit()


def test_sql_keeps_the_order_and_gives_csv_whole(type_: Type, done: tuple[Path, dict[str, str]]) -> None:
    query = "select i from range(2500) as t(i) order by i desc"
    out = type_("sql", query, "--csv", "--home", done[0]).out.split()
    assert out == ["i", *map(str, reversed(range(2500)))]
    assert "1,000 rows, and more: --csv gives all" in type_("sql", query, "--home", done[0]).out


@pytest.mark.parametrize("query", QUESTIONS)
def test_sql_takes_every_kind_of_question(type_: Type, done: tuple[Path, dict[str, str]], query: str) -> None:
    assert type_("sql", query, "--home", done[0]).code == 0


@pytest.mark.parametrize(
    "query",
    [
        "drop table core.sessions",
        "create table x as select 1",
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "copy (select 1) to 'out.csv'",
        "attach 'other.duckdb'",
        "set enable_external_access = true",
        "select nothing from nowhere",
        "selekt",
        "",
    ],
)
def test_sql_changes_nothing_and_reads_nothing_else(type_: Type, done: tuple[Path, dict[str, str]], query: str) -> None:
    said = type_("sql", query, "--home", done[0])
    assert said.code == 1
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "bug" not in said.err


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["collect"],
        ["land"],
        ["build"],
        ["publish"],
        ["run"],
        ["import", "jsonl", "x", "--source", "web"],
        ["import", "access-log", "x", "--source", "web"],
    ],
)
def test_without_a_home_it_says_how_to_make_one(type_: Type, tmp_path: Path, words: list[str]) -> None:
    home = tmp_path / "nowhere"
    said = type_(*words, "--home", home)
    assert said.code == 1
    assert said.err == f"There is no {home}/footfall.toml. Make one with: footfall init --home {home}\n"
    assert not home.exists()


def test_a_wrong_setting_stops_the_start(type_: Type, home: Path) -> None:
    with (home / "footfall.toml").open("a") as file:
        file.write('[sessions]\ngapp = "1m"\n')
    said = type_("land", "--home", home)
    assert said.code == 1
    assert said.err == 'footfall.toml: [sessions] has no key "gapp". Did you mean "gap"?\n'


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["import", "jsonl", "/nowhere.jsonl", "--source", "web"], "There is no file /nowhere.jsonl."),
        (["import", "jsonl", "/etc", "--source", "web"], "/etc is a folder; name a file in it."),
        (["import", "jsonl", "/etc/passwd", "--source", "wbe"], 'Did you mean "web"?'),
        (["land", "--from", "kafka"], "There is no Kafka to land from"),
        (["build", "--full", "--since", "2026-01-01"], "leave out --since and --until, or --full"),
        (
            ["build", "--since", "2026-01-02", "--until", "2026-01-01"],
            "must not lie behind --until",
        ),
        (["publish"], "There is nothing to publish yet"),
        (["report"], "Nothing is published in"),
        (["sql", "select 1"], "Nothing is published in"),
        (["funnel", "A > B"], "Nothing is published in"),
        (["run", "--every", "soon"], '--every is "soon" but must be a time such as "30m"'),
    ],
)
def test_a_sentence_and_a_non_zero_exit(type_: Type, home: Path, words: list[str], sentence: str) -> None:
    said = type_(*words, "--home", home)
    assert said.code == 1
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["land", "--nonsense"], ["collect", "--port", "0"], ["build", "--since", "monday"]],
)
def test_what_cannot_be_meant_is_an_error_of_usage(type_: Type, words: list[str]) -> None:
    assert type_(*words).code == 2


def test_a_build_before_anything_landed_is_told_so(type_: Type, home: Path) -> None:
    said = type_("build", "--home", home)
    assert "Nothing to build: nothing has landed. Next: footfall land" in said.out


def test_a_file_of_another_kind_leaves_the_log_as_it_is(type_: Type, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1,2\n" * 200)
    said = type_("import", "jsonl", path, "--source", "web", "--home", home)
    assert said.code == 1
    assert "does not look like jsonl" in said.err
    assert "Landed 0 events" in type_("land", "--home", home).out


def test_few_bad_lines_are_kept_as_rejects_and_told(type_: Type, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("no json\n")
    said = type_("import", "jsonl", path, "--source", "web", "--home", home)
    assert said.code == 1
    assert "0 stored, 1 rejected" in said.out
    assert "1 rejected" in type_("land", "--home", home).out


@pytest.mark.parametrize("key", [None, "", "ab" * 31, "zz" * 32])
def test_a_lost_or_damaged_key_is_never_replaced_silently(
    type_: Type, home: Path, tmp_path: Path, key: str | None
) -> None:
    type_("import", "jsonl", lines_of(tmp_path / "a", 4), "--source", "web", "--home", home)
    type_("land", "--home", home)
    (home / "secret.key").unlink()
    if key is not None:
        (home / "secret.key").write_text(key)
    said = type_("build", "--home", home)
    assert said.code == 1
    assert "Restore it from a backup" in said.err
    assert (home / "secret.key").exists() == (key is not None)


def test_who_holds_the_warehouse_is_named(type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_("land", "--home", home)
    script = "import duckdb, sys, time\ncon = duckdb.connect(sys.argv[1])\nprint('held', flush=True)\ntime.sleep(60)\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(home / "warehouse.duckdb")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        await_line(holder, holder.stdout, "held")
        monkeypatch.setenv("FOOTFALL_WAREHOUSE__WAIT", "1s")
        said = type_("land", "--home", home)
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout:
            holder.stdout.close()
    assert said.code == 1
    assert f"(process {holder.pid})" in said.err
    assert len(said.err.splitlines()) == 1


def test_a_port_in_use_is_refused(type_: Type, home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = type_("collect", "--home", home, "--port", port)
    assert said.code == 1
    assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use." in said.err
    assert said.out == ""


def test_a_full_disk_is_a_sentence(home: Path, tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "a.jsonl", 30_000)
    ran = subprocess.run(
        [
            sys.executable,
            str(ROOT / "footfall.py"),
            "import",
            "jsonl",
            lines,
            "--source",
            "web",
            "--home",
            home,
        ],
        capture_output=True,
        text=True,
        # Python would leave what it compiles there cut off at the limit, for all that come after.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        check=False,
    )
    assert ran.returncode == 1
    assert "did not take a write" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_error_of_ours_is_one_line_to_report(type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise ValueError("something odd\nand more")

    monkeypatch.setattr(steps, "load_settings", fail)
    said = type_("land", "--home", home)
    assert said.code == 1
    assert said.err.startswith("This is a bug in footfall")
    assert "ValueError: something odd" in said.err
    assert "FOOTFALL_DEBUG=1" in said.err
    monkeypatch.setenv("FOOTFALL_DEBUG", "1")
    with pytest.raises(ValueError, match="something odd"):
        type_("land", "--home", home)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_a_process_without_memory_says_what_to_do(
    type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: Path) -> None:
        raise error

    monkeypatch.setattr(steps, "load_settings", fail)
    said = type_("land", "--home", home)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert said.err.startswith("There is too little memory for this process. Free some, or raise what limits it")


# --- doctor -----------------------------------------------------------------------------------------------


def test_doctor_finds_a_whole_home_whole(type_: Type, done: tuple[Path, dict[str, str]]) -> None:
    said = type_("doctor", "--home", done[0])
    bad = [line for line in said.out.splitlines() if not line.startswith("ok ")]
    # Only an installed footfall knows what is pinned.
    assert [line for line in bad if "libraries" not in line] == []
    assert "400 events; 0 chunks of the log wait to be landed" in said.out
    assert re.search(r"published: built 0\.\d h ago", said.out)


def test_doctor_says_what_to_do_about_each_fault(type_: Type, home: Path, tmp_path: Path) -> None:
    (home / "secret.key").chmod(0o644)
    (home / "footfall.toml").write_text("[site]\n")
    (home / "bi.duckdb").write_text("this is no database")
    said = type_("doctor", "--home", home)
    assert said.code == 1
    failed = {line.split(":")[0].removeprefix("FAIL ") for line in said.out.splitlines() if line.startswith("FAIL")}
    assert {"footfall.toml", "secret.key", "published"} <= failed
    assert f"chmod 600 {home}/secret.key" in said.out
    assert type_("doctor", "--home", tmp_path / "nowhere").code == 1


def test_doctor_notices_a_zone_whose_rules_duckdb_does_not_know(type_: Type, home: Path, tmp_path: Path) -> None:
    # As after an update of the system's zones alone: there the clock of Tokyo goes as that of Rome.
    rome = files("tzdata") / "zoneinfo" / "Europe" / "Rome"
    (tmp_path / "Asia").mkdir()
    (tmp_path / "Asia" / "Tokyo").write_bytes(rome.read_bytes())
    settings = home / "footfall.toml"
    settings.write_text('[site]\ntimezone = "Asia/Tokyo"\n[[source]]\nname = "web"\n')
    assert re.search("ok +zone: Asia/Tokyo, by the same rules", type_("doctor", "--home", home).out)
    zoneinfo.reset_tzpath([tmp_path])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        said = type_("doctor", "--home", home)
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()
    assert said.code == 1
    assert re.search("FAIL zone: DuckDB .* does not know the newest rules of Asia/Tokyo: from", said.out)


def test_doctor_wants_a_secret_kept_from_others(type_: Type, home: Path) -> None:
    path = home / "footfall.toml"
    path.write_text('[[source]]\nname = "web"\nsecret_key = "s3cret"\n')
    path.chmod(0o644)
    said = type_("doctor", "--home", home)
    assert f"FAIL footfall.toml: It holds a secret_key and others may read it. Run: chmod 600 {path}" in said.out
    assert "s3cret" not in said.out + said.err
    path.chmod(0o600)
    assert "ok   footfall.toml" in type_("doctor", "--home", home).out


def test_doctor_notices_a_log_that_is_older_than_the_warehouse(type_: Type, home: Path, tmp_path: Path) -> None:
    type_("import", "jsonl", lines_of(tmp_path / "a", 10_001), "--source", "web", "--home", home)
    shutil.copytree(home / "log", tmp_path / "older")
    type_("land", "--home", home)
    (segment,) = (tmp_path / "older").glob("*.db")
    with closing(sqlite3.connect(segment)) as con:
        con.execute("delete from chunks where sequence > 1")
        con.commit()
    shutil.rmtree(home / "log")
    shutil.copytree(tmp_path / "older", home / "log")
    said = type_("doctor", "--home", home)
    assert "the log's folder was replaced by an older one" in said.out


# --- what stays up ----------------------------------------------------------------------------------------


def test_collect_takes_an_event_and_ends_cleanly(type_: Type, home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start("collect", "--home", home, "--port", port)
    try:
        assert process.stdout is not None
        told = await_line(process, process.stdout, "curl ")
        assert f"http://127.0.0.1:{port}/v1/track -u pk:" in told
        body = json.dumps({"event": "Hello", "anonymousId": "me", "writeKey": "pk"}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/track", body)
        for _ in range(200):
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("the collector did not answer")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate()
    assert "Landed 1 events: 1 new" in type_("land", "--home", home).out


def test_run_says_an_error_of_a_round_and_goes_on(type_: Type, home: Path, tmp_path: Path) -> None:
    type_("import", "jsonl", lines_of(tmp_path / "a", 100), "--source", "web", "--home", home)
    key = (home / "secret.key").rename(tmp_path / "key")
    process = start("run", "--every", "1s", "--home", home)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        await_line(process, process.stderr, "Restore it from a backup")
        key.rename(home / "secret.key")
        await_line(process, process.stdout, "Published")
        await_line(process, process.stdout, "report.html")
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Ended." in out
    finally:
        process.kill()
        process.communicate()
    assert int(type_("sql", SESSIONS, "--csv", "--home", home).out.split()[1]) > 0


STOPPED_OFTEN = """
import random, signal, threading, typer, footfall
typer.echo = lambda *_, **__: None
for _ in range(1500):
    stop = threading.Event()
    footfall._stop_on_signals(stop)
    signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 0.0002 + random.random() / 1000)
    while not stop.wait(0.00001):
        pass
"""


def test_a_signal_ends_a_wait_whenever_it_comes() -> None:
    subprocess.run([sys.executable, "-c", STOPPED_OFTEN], cwd=Path(footfall.__file__).parent, check=True, timeout=120)
