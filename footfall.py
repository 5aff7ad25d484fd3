"""The front door: the command line, one short function a command.

Modules are imported where a command needs them, so that `footfall --help` answers at once.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import steps
from steps import Failure, __version__

if TYPE_CHECKING:
    from config import Config
    from demo.run import Steps
    from ingest.imports import Imported
    from transforms.ask import Answer as FunnelAnswer

REPORT_EVERY = timedelta(minutes=5)
SHOWN_ROWS = 1000
SHOWN_VALUES = 20
COLLECTOR = "collector.url"  # in the home, while a collector runs: where it listens

app = typer.Typer(
    name="footfall",
    help="Event tracking and behaviour analytics that you own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
imports = typer.Typer(help="Bring in history and other systems through the same log.", no_args_is_help=True)
app.add_typer(imports, name="import")

Home = Annotated[Path, typer.Option("--home", envvar="FOOTFALL_HOME", help="The folder in which everything lives.")]
HOME = Path("footfall-data")
DAY = ["%Y-%m-%d"]


def main() -> None:
    """Run the command line; every failure is one sentence and a non-zero exit."""
    try:
        app()
    except Exception as error:
        if os.environ.get("FOOTFALL_DEBUG") == "1":
            raise
        typer.echo(steps.complaint(error), err=True)
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"footfall {__version__}")
        raise typer.Exit


@app.callback()
def footfall(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Event tracking and behaviour analytics that you own."""


# --- commands ---------------------------------------------------------------------------------------------


@app.command()
def init(home: Home = HOME) -> None:
    """Make a home: footfall.toml with every key explained, the installation's key, the log's folder."""
    import config

    settings, key = home / config.FILE, home / "secret.key"
    if settings.exists() and key.exists():
        raise Failure(f"{settings} exists already; nothing was changed. Edit it, or name another --home.")
    home.mkdir(parents=True, exist_ok=True)
    (home / "log").mkdir(mode=0o700, exist_ok=True)
    if not key.exists():
        _make_key(key)
        typer.echo(f"Made {key}; keep it safe: with another key all persons get other ids.")
    if not settings.exists():
        settings.write_text(config.starter(), encoding="utf-8")
        typer.echo(f"Made {settings}; every key is explained in it.")
    typer.echo(f"Next: footfall collect --home {home}")


@app.command()
def demo(
    visitors: Annotated[int, typer.Option(min=1, help="How many visitors come.")] = 3600,
    seed: Annotated[int, typer.Option(help="The same seed gives the same visits.")] = 1,
    until: Annotated[
        datetime | None, typer.Option(formats=DAY, help=r"Last day of the visits \[default: yesterday].")
    ] = None,
    home: Annotated[Path, typer.Option("--home", help="The folder to make; wiped only if the demo made it.")] = Path(
        "footfall-demo"
    ),
    serve: Annotated[bool, typer.Option("--serve", help="Serve the shop to you instead, and wipe nothing.")] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65534, help="With --serve: the shop's port; the collector takes the next one.")
    ] = 8080,
) -> None:
    """A small shop with simulated visitors, all the way from HTTP to the report; or the shop itself, to visit."""
    if serve:
        _serve_demo(home, port)
        return
    from demo.run import last_day
    from demo.run import run as run_demo

    day = last_day(until.date() if until else None, steps.now())
    run_demo(home, _demo_steps, visitors=visitors, seed=seed, until=day, program=_program())


@app.command()
def collect(
    home: Home = HOME,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
    ends_with_parent: Annotated[bool, typer.Option("--ends-with-parent", hidden=True)] = False,
) -> None:
    """Take events over HTTP and keep each one on disk before it is answered."""
    from ingest.collector import check_port, end_with_parent

    if ends_with_parent:
        end_with_parent()
    settings = steps.load_settings(home)
    check_port(host, port)
    key = settings.sources[0].write_key or settings.sources[0].name
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    typer.echo(f"Collecting on http://{where} into {home / 'log'} with {workers} worker(s); Ctrl-C ends it.")
    typer.echo("A first event:")
    typer.echo(
        f"  curl http://{where}/v1/track -u {key}: -H 'Content-Type: application/json' "
        '-d \'{"event": "Hello", "anonymousId": "me"}\''
    )
    asked = home / COLLECTOR
    asked.write_text(f"http://{where.replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]')}\n", encoding="ascii")
    try:
        _serve(settings, home, host, port, workers)
    finally:
        asked.unlink(missing_ok=True)


@app.command()
def forward(home: Home = HOME) -> None:
    """Send what the log holds to Kafka, each event as one record, and go on with what comes."""
    _check_crc32c()
    from ingest.forward import Forwarder

    settings = steps.load_settings(home)
    if settings.kafka is None:
        raise Failure(f"There is no [kafka] in {home / 'footfall.toml'}, so events land straight from the log.")
    stop = Flag()
    _stop_on_signals(stop)
    forwarder = Forwarder(
        home / "log",
        client=settings.kafka.client(home),
        topic=settings.kafka.topic,
        partitions=settings.kafka.partitions,
        keep=settings.log.keep,
        clock=steps.now,
        say=lambda text: typer.echo(f"{_clock()} {text}"),
    )
    where = ", ".join(settings.kafka.bootstrap)
    typer.echo(f"Forwarding {home / 'log'} to {settings.kafka.topic} on {where}; Ctrl-C ends it.")
    done = forwarder.run(stop)
    typer.echo(f"Ended: {done.record_n:,} events sent.")


@app.command()
def live(
    home: Home = HOME,
    source: Annotated[str | None, typer.Option("--source", help=r"Only what belongs to this [\[source]].")] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only what was not taken, and why.")] = False,
    once: Annotated[int | None, typer.Option("--once", min=1, help="Show the last so many, and end.")] = None,
) -> None:
    """Show each event as it comes in, taken or not and why."""
    from ingest.live import Follower, Seen

    name = _source(steps.load_settings(home), source) if source else None

    def wanted(seen: Seen) -> bool:
        return (name is None or seen.source == name) and (not rejected or bool(seen.why))

    follower = Follower(home / "log")
    for seen in follower.past(once or 10, wanted):
        _show_seen(seen)
    if once is None:
        typer.echo(f"Following {home / 'log'}; Ctrl-C ends it.", err=True)
        with suppress(KeyboardInterrupt):
            _follow(follower, home / COLLECTOR, wanted, name)


@app.command()
def land(
    home: Home = HOME,
    source: Annotated[
        Literal["log", "kafka"] | None,
        typer.Option("--from", help=r"Where to read \[default: Kafka if configured]."),
    ] = None,
) -> None:
    """Bring what the log or Kafka holds into the warehouse, each event once."""
    settings = steps.load_settings(home)
    with steps.opened(home, settings) as warehouse:
        typer.echo(steps.land(home, settings, warehouse, source=source, bar=_bar)[1])


@app.command()
def build(
    home: Home = HOME,
    full: Annotated[bool, typer.Option("--full", help="Make every row of every model anew.")] = False,
    since: Annotated[datetime | None, typer.Option(formats=DAY, help="First date to make anew.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=DAY, help="Last date to make anew.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built; change nothing.")] = False,
) -> None:
    """Bring the models up to what has landed."""
    settings = steps.load_settings(home)
    days = (since.date() if since else None, until.date() if until else None)
    with steps.opened(home, settings) as warehouse:
        step = steps.preview if dry_run else steps.build
        typer.echo(step(home, settings, warehouse, full=full, days=days, bar=_bar)[1])


@app.command()
def publish(home: Home = HOME) -> None:
    """Write bi.duckdb and the Parquet files anew, if anything changed."""
    settings = steps.load_settings(home)
    with steps.opened(home, settings) as warehouse:
        typer.echo(steps.publish(home, settings, warehouse, bar=_bar)[1])


@app.command()
def compact(home: Home = HOME) -> None:
    """Let go of what is past its time, and give free bytes of the warehouse back to the disk."""
    settings = steps.load_settings(home)
    with steps.opened(home, settings) as warehouse:
        for step in (steps.expire, steps.tidy, steps.compact):
            typer.echo(step(home, settings, warehouse, bar=_bar)[1])


@app.command()
def report(home: Home = HOME) -> None:
    """Write report.html from what was published."""
    typer.echo(_report(home))


@app.command()
def run(
    home: Home = HOME,
    every: Annotated[str, typer.Option(help='Time from round to round, such as "10s" or "1m".')] = "10s",
) -> None:
    """Land, build and publish in a loop; the report every five minutes."""
    import config

    settings = steps.load_settings(home)
    pause = config.duration(every, "--every")
    stop = Flag()
    _stop_on_signals(stop)
    typer.echo(f"Landing, building and publishing {home} every {every}; Ctrl-C ends it.")
    _rounds(home, settings, stop, pause)
    typer.echo("Ended.")


@imports.command("jsonl")
def import_jsonl(
    file: Annotated[Path, typer.Argument(help="JSON lines in the Segment spec; may be gzipped.")],
    source: Annotated[str, typer.Option("--source", help=r"The [\[source]] that the events belong to.")],
    home: Home = HOME,
) -> None:
    """Events as JSON lines: type, event, messageId, anonymousId, userId, timestamp, properties, …"""
    from ingest import imports as importing

    settings = steps.load_settings(home)
    name = _source(settings, source)
    with _writer(home, settings) as writer, _bar("Importing", "lines") as progress:
        done = importing.import_jsonl(file, writer, source=name, clock=steps.now, progress=progress)
    _say_import(file, done, home)


@imports.command("access-log")
def import_access_log(
    file: Annotated[Path, typer.Argument(help="A web server's combined log; may be gzipped.")],
    source: Annotated[str, typer.Option("--source", help=r"The [\[source]] that the events belong to.")],
    home: Home = HOME,
    host: Annotated[str | None, typer.Option(help="The website's name: makes the paths whole URLs.")] = None,
) -> None:
    """Page views from a web server's log: GETs that succeeded and are no assets."""
    from ingest import imports as importing

    settings = steps.load_settings(home)
    name, key = _source(settings, source), steps.installation_key(home)
    with _writer(home, settings) as writer, _bar("Importing", "lines") as progress:
        done = importing.import_access_log(
            file, writer, source=name, key=key, host=host, clock=steps.now, progress=progress
        )
    _say_import(file, done, home)


@app.command()
def funnel(
    steps_: Annotated[
        str, typer.Argument(metavar="STEPS", help='Events and pages, such as "/product/* > Product Added".')
    ],
    home: Home = HOME,
    window: Annotated[str, typer.Option("--window", help="From the first step to the last.")] = "14d",
    by: Annotated[
        str | None, typer.Option("--by", help="Apart by a column of events or sessions, or a property, of step 1.")
    ] = None,
) -> None:
    """How many go which steps, in order: a question to the published events, without a definition."""
    import config
    from transforms.ask import ask

    path = _published(home)
    _print_funnel(ask(path, steps_, window=config.duration(window, "--window"), by=by), window, by)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="A query on the published tables.")],
    home: Home = HOME,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, all rows.")] = False,
) -> None:
    """Ask the published tables; nothing can be changed."""
    import duckdb

    path = _published(home)
    options: dict[str, Any] = {"enable_external_access": "false", "lock_configuration": "true"}
    try:
        with duckdb.connect(str(path), read_only=True, config=options) as con:
            (_write_csv if csv else _print_table)(_ask(con, query))
    except duckdb.Error as error:
        raise Failure(f"DuckDB says: {' '.join(str(error).split())}") from error


@app.command()
def doctor(
    home: Home = HOME,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set damaged files aside and read again what they held.")
    ] = False,
) -> None:
    """Check what footfall needs here, and say what to do about what is wrong."""
    if repair:
        from repair import repair as mend

        is_whole = True
        for said in mend(home, steps.load_settings(home), now=steps.now(), bar=_bar):
            typer.echo(said)
            is_whole = False
        if is_whole:
            typer.echo("There is nothing to repair.")
    failed_n = 0
    for name, check in _checks(home):
        try:
            said, is_ok = check(), True
        except Exception as error:
            said, is_ok = steps.complaint(error), False
            failed_n += 1
        typer.echo(f"{typer.style('ok  ', fg='green') if is_ok else typer.style('FAIL', fg='red')} {name}: {said}")
    if failed_n:
        raise Failure(f"{failed_n} of the checks failed.")


# --- steps ------------------------------------------------------------------------------------------------


def _report(home: Path) -> str:
    from report import page

    bi, out = _published(home), home / "report.html"
    limits = {each.name: (each.edge_limit, each.min_weight) for each in steps.load_settings(home).journeys}
    page.write(bi, out, now=steps.now(), limits=limits)
    return f"Wrote {out}; open it in a browser."


def _rounds(home: Path, settings: Config, stop: Flag, pause: timedelta, report_every: timedelta = REPORT_EVERY) -> None:
    """Land, build and publish, round after round, and now and then the report, until `stop` is set."""
    reported, is_stale = -float("inf"), True
    while not stop.is_set():
        began = time.monotonic()
        is_stale |= _said(lambda: _round(home, settings, stop)) is True
        if is_stale and not stop.is_set() and began - reported >= report_every.total_seconds():
            done = _said(lambda: _report(home))
            if done:
                typer.echo(f"{_clock()} {done}")
                reported, is_stale = began, False
        stop.wait(max(0.0, pause.total_seconds() - (time.monotonic() - began)))


def _round(home: Path, settings: Config, stop: Flag) -> bool:
    """One round of `run`, saying what it did where it did anything; whether it published."""
    has_changed = False
    with steps.opened(home, settings) as warehouse:
        for step in (steps.land, steps.build, steps.publish):
            if stop.is_set():
                return False
            has_changed, said = step(home, settings, warehouse, bar=_bar)
            if has_changed:
                typer.echo(f"{_clock()} {said}")
    return has_changed


def _show_seen(seen: Any) -> None:
    typer.echo(typer.style(seen.text(), fg="red" if seen.why else None))


def _follow(follower: Any, collector: Path, wanted: Callable[[Any], bool], source: str | None) -> None:
    """Show what is new, and by their counts what the collector did not keep, for ever."""
    from ingest.live import turned

    counted, asked = _metrics(collector), time.monotonic()
    while True:
        for seen in follower.new():
            if wanted(seen):
                _show_seen(seen)
        if time.monotonic() - asked >= 1:
            now, asked = _metrics(collector), time.monotonic()
            for each in turned(counted, now) if now else ():
                if source in (None, each.source):
                    typer.echo(typer.style(each.text(steps.now()), fg="yellow"))
            counted = now or counted
        time.sleep(0.2)


def _metrics(collector: Path) -> str:
    """The counts of the collector of a home, empty where none runs."""
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(f"{collector.read_text(encoding='ascii').strip()}/metrics", timeout=2) as answer:
            return str(answer.read().decode())
    except (OSError, ValueError, HTTPException):
        return ""


def _said(step: Callable[[], Any]) -> Any:
    """What the step gives; its error is said, and the loop goes on."""
    try:
        return step()
    except Exception as error:
        if os.environ.get("FOOTFALL_DEBUG") == "1":
            raise
        typer.echo(f"{_clock()} {steps.complaint(error)}", err=True)
        return None


@contextmanager
def _demo_steps(home: Path) -> Iterator[Steps]:
    """What the demo has done by the rest of footfall, on a home that it has prepared."""
    from demo.run import Landed, Steps
    from ingest import imports as importing
    from ingest.from_log import FromLog
    from ingest.land import land as land_events
    from transforms.flow import build as build_models
    from transforms.publish import publish as publish_tables

    _make_key(home / "secret.key")
    settings = steps.load_settings(home)
    definitions, key = steps.definitions(settings), steps.installation_key(home)

    def import_round(path: Path, move: Callable[[int, int], None]) -> None:
        with _writer(home, settings) as writer:
            source = settings.sources[0].name
            importing.import_jsonl(path, writer, source=source, clock=steps.now, progress=move)

    with steps.opened(home, settings) as warehouse:

        def landed() -> Landed:
            sums = "select sum(new_n)::bigint, sum(duplicate_n)::bigint, sum(rejected_n)::bigint"
            return Landed(*warehouse.execute(f"{sums} from raw.landings")[0])

        def publish_home(move: Callable[[int, int], None]) -> Path:
            publish_tables(
                warehouse,
                home,
                definitions,
                events_days=settings.publish.events_days,
                version=__version__,
                now=steps.now(),
                progress=lambda _, done, of: move(done, of),
            )
            return home / "bi.duckdb"

        def write_report() -> Path:
            _report(home)
            return home / "report.html"

        yield Steps(
            import_round=import_round,
            collector=lambda: _demo_collector(home),
            land=lambda move: land_events(
                warehouse,
                FromLog(home / "log"),
                clock=steps.now,
                dedup_hours=settings.land.dedup_hours,
                batch_events=settings.land.batch_events,
                progress=move,
            ),
            build=lambda move: build_models(
                warehouse, definitions, key=key, now=steps.now(), progress=lambda _, done, of: move(done, of)
            ),
            landed=landed,
            publish=publish_home,
            report=write_report,
        )


def _serve_demo(home: Path, port: int) -> None:
    """The shop, a collector beside it and the loop behind them, until one Ctrl-C ends all three."""
    from demo.run import furnish
    from demo.serve import serving
    from ingest.collector import check_port

    for each in (port, port + 1):
        check_port("127.0.0.1", each)
    is_new = furnish(home)
    if not (home / "secret.key").exists():
        _make_key(home / "secret.key")
    settings = steps.load_settings(home)
    source = settings.sources[0]
    stop = Flag()
    _stop_on_signals(stop)
    with (
        _demo_collector(home, port + 1, [*source.origins, f"http://127.0.0.1:{port}"]) as awaited,
        serving(port, collector=(collector := awaited()), write_key=source.write_key or source.name) as shop,
    ):
        typer.echo(f"The shop:      {shop}")
        typer.echo(f"The collector: {collector}, into {home / 'log'}")
        typer.echo(f"In another terminal: {_program()} live --home {home}")
        if is_new:
            typer.echo(
                f"Nobody has visited it yet. For three months of visitors first: {_program()} demo --home {home}"
            )
        typer.echo(f"The report, anew after each visit: {home / 'report.html'}. Ctrl-C ends all.")
        _rounds(home, settings, stop, timedelta(seconds=3), timedelta(seconds=15))
    typer.echo("Ended.")


def _program() -> str:
    """How this program was called."""
    return os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else "footfall"


@contextmanager
def _demo_collector(
    home: Path, port: int | None = None, origins: list[str] | None = None
) -> Iterator[Callable[[], str]]:
    """A collector of its own process group, on a free port if none is named, until the block ends.

    Called, it awaits its url. `origins` stand in for those of the first [[source]].
    """
    import json
    import socket
    import subprocess
    from urllib.error import URLError
    from urllib.request import urlopen

    env = dict(os.environ)
    if origins:
        name = "".join(each if each.isalnum() else "_" for each in steps.load_settings(home).sources[0].name)
        env[f"FOOTFALL_SOURCE__{name.upper()}__ORIGINS"] = json.dumps(origins)
    if port is None:
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            port = trial.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, __file__, "collect", "--home", str(home), "--port", str(port), "--ends-with-parent"]
    said = home / "collector.log"
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)

    def ready() -> str:
        for _ in range(300):
            if process.poll() is not None:
                raise Failure(f"The collector ended at once. What it said stands in {said}.")
            try:
                with urlopen(f"{url}/ready", timeout=5):
                    return url
            except (URLError, OSError):
                time.sleep(0.05)
        raise Failure(f"The collector did not start within its time. What it said stands in {said}.")

    try:
        yield ready
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _serve(settings: Config, home: Path, host: str, port: int, workers: int) -> None:
    import ingest
    from ingest.body import Limits
    from ingest.collector import serve
    from ingest.protocols.request import Source

    given = settings.collector
    sources = [
        Source(**each.model_dump(exclude={"write_key"}), write_key=each.write_key or each.name)
        for each in settings.sources
    ]
    limits = Limits(**given.model_dump(exclude={"trusted_proxies"}))
    serve(
        home / "log",
        sources,
        clock=steps.now,
        host=host,
        port=port,
        workers=workers,
        limits=limits,
        segment_bytes=settings.log.segment_bytes,
        segment_seconds=settings.log.segment_minutes * 60,
        forwards=settings.kafka is not None,
        trusted_proxies=given.trusted_proxies,
        tracker=Path(ingest.__file__).parent / "tracker" / "built",
    )


# --- what commands share ----------------------------------------------------------------------------------


def _clock() -> str:
    return f"{datetime.now():%H:%M:%S}"


def _make_key(path: Path) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(secrets.token_hex(32) + "\n")


def _source(settings: Config, name: str) -> str:
    import difflib

    names = [source.name for source in settings.sources]
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, 1)
    hint = f'Did you mean "{close[0]}"?' if close else f"There are: {', '.join(names)}."
    raise Failure(f'footfall.toml has no [[source]] with the name "{name}". {hint}')


def _published(home: Path) -> Path:
    path = home / "bi.duckdb"
    if not path.exists():
        raise Failure(
            f"Nothing is published in {home} yet. First: footfall land, footfall build, footfall publish, "
            f"each with --home {home}."
        )
    return path


@contextmanager
def _writer(home: Path, settings: Config) -> Iterator[Any]:
    from ingest.log import Writer

    writer = Writer(
        home / "log",
        segment_bytes=settings.log.segment_bytes,
        segment_seconds=settings.log.segment_minutes * 60,
        clock=steps.now,
    )
    try:
        yield writer
    finally:
        writer.close()


def _stop_on_signals(stop: Flag) -> None:
    """The first Ctrl-C or SIGTERM lets the step in hand finish; a second one ends at once."""

    def note(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        typer.echo("Ending after this step; once more ends at once.", err=True)
        # This thread may be in stop.wait() with its lock, for which set() would wait here for ever.
        Thread(target=stop.set).start()

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, note)


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[..., None]]:
    """A bar with units a second, on a terminal only.

    Gives a function (done, total), or (label, done, total) for what is no rate.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} {unit}/s" if task.speed and task.description == title else "")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def move(*values: Any) -> None:
            label = f"{title} {values[0]}" if len(values) == 3 else title
            bar.update(task, description=label, completed=values[-2], total=values[-1])

        yield move


def _say_import(file: Path, done: Imported, home: Path) -> None:
    declined = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.declined.items()))
    typer.echo(
        f"Imported {file}: of {done.lines_n:,} lines {done.stored_n:,} stored, {done.rejected_n:,} rejected, "
        f"{done.declined_n:,} declined{f' ({declined})' if declined else ''}."
    )
    if done.rejected_n and not done.stored_n:
        raise Failure("No line could be stored. What was rejected, and why, stands in raw.rejected after landing.")
    typer.echo(f"Next: footfall land --home {home}")


@dataclass(frozen=True)
class Answer:
    """Column names, which of them are numbers, and the rows as DuckDB's own text, a thousand at a time."""

    names: list[str]
    numeric: list[bool]
    rows: Iterator[list[tuple[str | None, ...]]]


def _ask(con: Any, query: str) -> Answer:
    statements = con.extract_statements(query)
    if len(statements) != 1:
        raise Failure(f"There are {len(statements)} queries in that: ask one.")
    relation = con.sql(statements[0].query.strip().removesuffix(";"))
    if relation is None:
        raise Failure("That is no query: it gives no rows.")
    kinds = [str(kind) for kind in relation.types]
    numeric = ["INT" in kind or kind.startswith(("DECIMAL", "DOUBLE", "FLOAT")) for kind in kinds]
    texts = con.execute(relation.project("columns(*)::varchar").sql_query())
    return Answer(list(relation.columns), numeric, iter(lambda: texts.fetchmany(SHOWN_ROWS), []))


def _write_csv(answer: Answer) -> None:
    import csv

    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(answer.names)
    for rows in answer.rows:
        out.writerows(rows)


def _print_table(answer: Answer) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    shown = next(answer.rows, [])
    cells = [["[dim]null[/dim]" if value is None else escape(value) for value in row] for row in shown]
    if sum(len(name) + 3 for name in answer.names) > console.width:
        # The names alone do not fit side by side: a row becomes a block of lines.
        table = Table(show_edge=False, show_header=False)
        for row in cells:
            for name, value in zip(answer.names, row, strict=True):
                table.add_row(f"[bold]{escape(name)}[/bold]", value)
            table.add_section()
    else:
        table = Table(show_edge=False, header_style="bold")
        for name, is_number in zip(answer.names, answer.numeric, strict=True):
            table.add_column(escape(name), justify="right" if is_number else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
    console.print(table)
    more = ", and more: --csv gives all" if next(answer.rows, []) else ""
    typer.echo(f"{len(shown):,} row{'' if len(shown) == 1 else 's'}{more}")


def _print_funnel(answer: FunnelAnswer, window: str, by: str | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    block = "█" if console.encoding.lower().startswith("utf") else "#"
    room = max(8, min(40, console.width - 70))
    entered, names = answer.total.reached_n[0], [escape(step.label) for step in answer.steps]

    def bar(share: float) -> str:
        return block * round(share * room) or ("·" if block == "█" else ".")

    table = Table(show_edge=False, header_style="bold", title_justify="left")
    for name, side in (("", "right"), ("Step", "left"), ("Persons", "right"), ("", "left")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for name in ("of first", "of before", "median"):
        table.add_column(name, justify="right")
    for number, (name, n) in enumerate(zip(names, answer.total.reached_n, strict=True)):
        before = answer.total.reached_n[max(0, number - 1)]
        table.add_row(
            str(number + 1),
            name,
            f"{n:,}",
            bar(n / entered) if entered else "",
            _share(n, entered),
            _share(n, before),
            _spoken(answer.total.from_start_s[number]) if number else "",
        )
    console.print(table)
    if by:
        # Values down, steps across; what does not fit beside each other is the way in the middle.
        shown = range(len(names)) if len(names) * 9 < console.width - 60 else (0, len(names) - 1)
        apart = Table(show_edge=False, header_style="bold")
        apart.add_column(escape(by), overflow="fold")
        for step in shown:
            apart.add_column(f"step {step + 1}", justify="right")
        for name in ("of first", ""):
            apart.add_column(name, justify="right" if name else "left")
        for row in answer.rows[:SHOWN_VALUES]:
            share = row.reached_n[-1] / row.reached_n[0]
            numbers = [f"{row.reached_n[step]:,}" for step in shown]
            apart.add_row(escape(row.value), *numbers, _share(row.reached_n[-1], row.reached_n[0]), bar(share))
        console.print()
        console.print(apart)
        if len(answer.rows) > SHOWN_VALUES:
            typer.echo(f"and {len(answer.rows) - SHOWN_VALUES:,} values more.")
    typer.echo(
        f"Persons who entered from {answer.first_date} to {answer.last_date}, each followed for {window}; "
        f"bi.duckdb holds the events of {answer.events_from} to {answer.events_to}."
    )
    if answer.open_n:
        typer.echo(
            f"No {window} are over yet in these dates, so this is how it stands so far: "
            f"{answer.open_n:,} may still go on. A shorter --window tells more."
        )
    for note in answer.notes:
        typer.echo(note)


def _share(n: int, of: int) -> str:
    return f"{n / of:.1%}" if of else "–"  # noqa: RUF001


def _spoken(seconds: float | None) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h, 2.1 d."""
    if seconds is None:
        return "–"  # noqa: RUF001
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


# --- doctor -----------------------------------------------------------------------------------------------


def _checks(home: Path) -> list[tuple[str, Callable[[], str]]]:
    """Each check gives what it found, or raises with what to do."""
    return [
        ("Python", _check_python),
        ("libraries", _check_libraries),
        ("crc32c", _check_crc32c),
        ("home", lambda: _check_home(home)),
        ("footfall.toml", lambda: _check_settings(home)),
        ("zone", lambda: _check_zone(home)),
        ("secret.key", lambda: _check_key(home)),
        ("disk", lambda: _check_disk(home)),
        ("log", lambda: _check_log(home)),
        ("kafka", lambda: _check_kafka(home)),
        ("warehouse", lambda: _check_warehouse(home)),
        ("published", lambda: _check_published(home)),
    ]


def _check_kafka(home: Path) -> str:
    settings = steps.load_settings(home)
    if settings.kafka is None:
        return "not configured: events land straight from the log"
    from ingest.broker import check
    from ingest.cursor import load_status

    found = check(settings.kafka.client(home), settings.kafka.topic)
    status = load_status(home / "log")
    trouble = status.trouble(steps.now()) if status else "no forwarder has run yet: start footfall forward"
    if trouble:
        raise Failure(f"{found}; but {trouble}.")
    return found


def _check_python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _check_libraries() -> str:
    import re
    from importlib.metadata import PackageNotFoundError, requires, version

    try:
        wanted = requires("footfall") or []
    except PackageNotFoundError:
        raise Failure("footfall is not installed here, so its libraries are not known. Run: make setup") from None
    pins = [match for each in wanted if (match := re.fullmatch(r"([\w.-]+)==([\w.]+)", each))]
    wrong = []
    for pin in pins:
        try:
            found = version(pin[1])
        except PackageNotFoundError:
            found = "absent"
        if found != pin[2]:
            wrong.append(f"{pin[1]} is {found}, not {pin[2]}")
    if wrong:
        raise Failure(f"{'; '.join(wrong)}. Run: make setup")
    return f"all {len(pins)} as pinned (duckdb {version('duckdb')}, polars {version('polars')})"


def _check_crc32c() -> str:
    try:
        import crc32c
    except ImportError:
        raise Failure("It is absent, and Kafka's checksums take ages without it. Run: make setup") from None
    return "in hardware" if crc32c.hardware_based else "in software"


def _check_home(home: Path) -> str:
    if not home.is_dir():
        raise Failure(f"There is no folder {home}. Make it with: footfall init --home {home}")
    return str(home)


def _check_settings(home: Path) -> str:
    import config

    settings = steps.load_settings(home)
    path = home / config.FILE
    written = config.load(home, {})
    secret = "secret_key" if any(source.secret_key for source in written.sources) else None
    secret = "password" if written.kafka and written.kafka.security.password else secret
    if secret and path.stat().st_mode & 0o077:
        raise Failure(f"It holds a {secret} and others may read it. Run: chmod 600 {path}")
    return f"sources {', '.join(source.name for source in settings.sources)}; zone {settings.site.timezone}"


def _check_zone(home: Path) -> str:
    """Dates are DuckDB's, by the rules of zones that it was built with; those of the system may be newer."""
    from zoneinfo import ZoneInfo

    import duckdb

    name = steps.load_settings(home).site.timezone
    query = """
        select moment, timezone($zone, timezone('UTC', moment))
        from (select unnest(generate_series($first, $last, interval 6 hour)) as moment)
    """
    now = steps.now().replace(tzinfo=None)
    values = {"zone": name, "first": now - timedelta(days=400), "last": now + timedelta(days=400)}
    with duckdb.connect() as con:
        rows = con.execute(query, values).fetchall()
    zone = ZoneInfo(name)
    for at, local in rows:
        if at.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None) != local:
            raise Failure(
                f"DuckDB {duckdb.__version__} does not know the newest rules of {name}: from {at:%Y-%m-%d} events near "
                "midnight stand on another date. Update footfall once a DuckDB with those rules is out."
            )
    return f"{name}, by the same rules in DuckDB and the system"


def _check_key(home: Path) -> str:
    steps.installation_key(home)
    path = home / "secret.key"
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise Failure(f"Others may read it (mode {mode:04o}). Run: chmod 600 {path}")
    return f"mode {mode:04o}"


def _check_disk(home: Path) -> str:
    import shutil

    free = shutil.disk_usage(home).free
    if free < 2**30:
        raise Failure(
            f"Only {free / 2**20:,.0f} MiB are free. Free some: the collector refuses events when none is left."
        )
    return f"{free / 2**30:,.1f} GiB free"


def _check_log(home: Path) -> str:
    from ingest.log import backlog
    from repair import damaged_segments, describe

    folder = home / "log"
    if not folder.is_dir():
        return "nothing in it yet"
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Failure(f"{folder} cannot be written. Give its owner the right: chmod 700 {folder}")
    damaged = damaged_segments(folder, bar=_bar)
    if damaged:
        found = "; ".join(describe(segment, chunks) for segment, chunks in damaged.items())
        raise Failure(f"{found}. Save what can be read, and set it aside: footfall doctor --repair --home {home}")
    held = backlog(folder)
    since = f", the oldest of {held.oldest_at:%Y-%m-%d %H:%M} UTC" if held.oldest_at else ""
    return f"{held.segment_n} segments, {held.byte_n / 2**20:,.1f} MiB{since}"


def _check_warehouse(home: Path) -> str:
    from ingest.log import segments
    from warehouse import open_warehouse

    path = home / "warehouse.duckdb"
    if not path.exists():
        return f"none yet. Next: footfall land --home {home}"
    warehouse = open_warehouse(path, wait_s=0)
    try:
        rows = warehouse.execute("select part, next_position from raw.positions where topic = 'log'")
        event_n = warehouse.value("select count(*) from raw.events")
        gap_n = warehouse.value("select count(*) from raw.gaps")
        behind = steps.step_back(warehouse, home)
    finally:
        warehouse.close()
    if behind:
        raise Failure(f"{behind} Land again what it lacks: footfall doctor --repair --home {home}")
    positions = dict(rows)
    waiting_n = 0
    for segment in segments(home / "log"):
        last, upto = segment.last_sequence(), positions.get(segment.name, 1) - 1
        if last is not None and upto > last:
            raise Failure(
                f"The segment {segment.name} ends at {last}, but {upto} was landed from it: "
                "the log's folder was replaced by an older one. Put the newer one back."
            )
        waiting_n += (last or upto) - upto
    gaps = f", {gap_n:,} gaps (see raw.gaps)" if gap_n else ""
    return f"{event_n:,} events{gaps}; {waiting_n:,} chunks of the log wait to be landed"


def _check_published(home: Path) -> str:
    import duckdb

    path = home / "bi.duckdb"
    if not path.exists():
        return f"nothing yet. Next: footfall publish --home {home}"
    try:
        with duckdb.connect(str(path), read_only=True) as con:
            row = con.execute("select built_at, horizon from meta.build_info").fetchall()[0]
    except (duckdb.Error, IndexError) as error:
        raise Failure(f"{path} cannot be read ({error}). Make it anew: footfall publish --home {home}") from None
    age = steps.now().replace(tzinfo=None) - row[0]
    return f"built {age.total_seconds() / 3600:,.1f} h ago, complete up to {row[1]:%Y-%m-%d %H:%M} UTC"


if __name__ == "__main__":
    main()
