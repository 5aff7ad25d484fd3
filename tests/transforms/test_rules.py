"""Rule tables: what is shipped loads, an edit changes the hash, a broken row is named."""

from __future__ import annotations

import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from transforms import rules
from transforms.rules import RulesError
from warehouse import SQL, Warehouse, open_warehouse


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(SQL / "0_rules", tmp_path / "0_rules")


@pytest.fixture
def warehouse() -> Warehouse:
    return open_warehouse(None)


def add(folder: Path, name: str, line: str) -> None:
    with (folder / name).open("a") as file:
        file.write(line + "\n")


def test_every_file_becomes_its_table(warehouse: Warehouse, folder: Path) -> None:
    rules.load(warehouse, folder)
    for path in folder.glob("*.csv"):
        lines = len(path.read_text().splitlines())
        assert warehouse.value(f"select count(*) from rules.{path.stem}") == lines - 1, path.stem
    assert {path.stem for path in folder.glob("*.csv")} == set(rules.TABLES)


def test_the_shipped_sites_are_many(warehouse: Warehouse, folder: Path) -> None:
    rules.load(warehouse, folder)
    counts = dict(warehouse.execute("select kind, count(distinct name) from rules.sites group by kind"))
    assert counts["search"] >= 30
    assert counts["social"] >= 40
    assert min(counts[kind] for kind in ("video", "shopping", "ai")) >= 15


def test_an_edit_changes_the_hash_and_its_undoing_gives_it_back(warehouse: Warehouse, folder: Path) -> None:
    for path in sorted(folder.glob("*.csv")):
        before = rules.load(warehouse, folder)
        kept = path.read_text()
        row = {
            "channels": "30,Other,true",
            "sites": "new.example,search,new",
            "click_ids": "xclid,x,cpc",
            "bots": "Ours,*ours*,,monitor",
            "session_ignore": "Heartbeat,false",
            "libraries": "ours,server",
            "signals": "ours,rage",
            "currency_rates": "2026-01-01,USD,0.9",
        }[path.stem]
        add(folder, path.name, row)
        assert rules.load(warehouse, folder) != before, path.stem
        path.write_text(kept)
        assert rules.load(warehouse, folder) == before, path.stem


def test_the_order_of_rows_is_part_of_the_rules(warehouse: Warehouse, folder: Path) -> None:
    before = rules.load(warehouse, folder)
    head, first, second, *rest = (folder / "bots.csv").read_text().splitlines()
    (folder / "bots.csv").write_text("\n".join([head, second, first, *rest]) + "\n")
    assert rules.load(warehouse, folder) != before


def test_a_file_saved_by_a_spreadsheet_says_the_same(warehouse: Warehouse, folder: Path) -> None:
    before = rules.load(warehouse, folder)
    for path in folder.glob("*.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert rules.load(warehouse, folder) == before


def test_the_same_rules_are_not_written_again(warehouse: Warehouse, folder: Path) -> None:
    rules.load(warehouse, folder)
    warehouse.execute("delete from rules.click_ids")
    rules.load(warehouse, folder)
    assert warehouse.value("select count(*) from rules.click_ids") == 0


def test_the_rules_outlive_the_process(tmp_path: Path, folder: Path) -> None:
    first = open_warehouse(tmp_path / "w.duckdb")
    given = rules.load(first, folder)
    first.close()
    second = open_warehouse(tmp_path / "w.duckdb")
    assert rules.load(second, folder) == given
    assert second.value("select rules.glob_as_like('50%_*')") == r"50\%\_%"
    second.close()


def test_ignored_events_are_globs(warehouse: Warehouse, folder: Path) -> None:
    add(folder, "session_ignore.csv", "100%_done*,false")
    rules.load(warehouse, folder)

    def ignored(name: str, has_url: bool) -> bool:
        sql = r"""select count(*) > 0 from rules.session_ignore
                  where $name like name_like escape '\' and (not only_without_url or not $has_url)"""
        return bool(warehouse.value(sql, {"name": name, "has_url": has_url}))

    assert ignored("Engaged", True)
    assert ignored("Email Clicked", True)
    assert not ignored("Emailed", True)
    assert ignored("Survey Shown", False)
    assert not ignored("Survey Shown", True)
    assert ignored("100%_done now", True)
    assert not ignored("100 of done", True)
    assert not ignored("Order Completed", True)


def test_networks_are_globs_and_no_agents(warehouse: Warehouse, folder: Path) -> None:
    add(folder, "bots.csv", "Office monitor,,203.0.113.*,monitor")
    rules.load(warehouse, folder)
    sql = r"select name from rules.bots where $address like network_like escape '\'"
    assert warehouse.value(sql, {"address": "203.0.113.0/24"}) == "Office monitor"
    assert warehouse.value(sql, {"address": "203.0.114.0/24"}) is None
    assert "Office monitor" not in {rule.name for rule in rules.bot_rules(warehouse)}
    assert rules.bot_rules(warehouse)[0].name == "GPTBot"


def test_rates_keep_their_digits(warehouse: Warehouse, folder: Path) -> None:
    add(folder, "currency_rates.csv", "2026-01-01,USD,0.92345678")
    rules.load(warehouse, folder)
    assert warehouse.execute("select date, currency, rate from rules.currency_rates") == [
        (date(2026, 1, 1), "USD", Decimal("0.92345678"))
    ]


BROKEN = [
    ("sites.csv", "new.example,serch,new", "kind is 'serch', but must be one of search"),
    ("sites.csv", "https://new.example/,search,new", "bare domain"),
    ("sites.csv", "*.example.org,search,new", "bare domain"),
    ("sites.csv", "new.example,search,", "name is empty"),
    ("sites.csv", "new.example,social,google", "google is a search site above"),
    ("sites.csv", "YouTube.com,video,youtube", "youtube.com stands on line"),
    ("sites.csv", "new.example,search", "has 2 values, but must have 3 (domain,kind,name)"),
    ("click_ids.csv", "xclid,,cpc", "source is empty"),
    ("bots.csv", "Ours,,,monitor", "give agent or network"),
    ("bots.csv", "Ours,a,b,monitor", "give agent or network"),
    ("bots.csv", "Ours,*,,monitor", "would make everybody a bot"),
    ("bots.csv", "Ours,,203.0.113.7,monitor", "network must be a prefix"),
    ("bots.csv", "Ours,*ours*,,robot", "kind is 'robot'"),
    ("session_ignore.csv", "Heartbeat,no", "only_without_url is 'no', but must be true or false"),
    ("currency_rates.csv", "2026-13-01,USD,1", "date is '2026-13-01'"),
    ("currency_rates.csv", "2026-01-01,usd,1", "three capitals"),
    ("currency_rates.csv", "2026-01-01,USD,0", "rate is '0'"),
    ("currency_rates.csv", "2026-01-01,USD,NaN", "rate is 'NaN'"),
    ("currency_rates.csv", "2026-01-01,USD,1e12", "rate is '1e12'"),
    ("channels.csv", "12345678901,Other,true", "rank is '12345678901'"),
    ("libraries.csv", "ours,phone", "runs_on is 'phone'"),
    ("channels.csv", "x,Other,true", "rank is 'x'"),
    ("channels.csv", "20,Other,true", "20 stands on line"),
    ("channels.csv", "30,Other,", "condition is empty"),
    ("channels.csv", "30,Other,country = 'nl'", "the word 'country'"),
    ("channels.csv", "30,Other,(select 1) = 1", "the word 'select'"),
    ("channels.csv", "30,Other,exists(from raw.events)", "the word 'exists'"),
    ("channels.csv", "30,Other,read_text('x') = 'y'", "the word 'read_text'"),
    ("channels.csv", "30,Other,true; drop table raw.events", "'; drop table"),
    ("channels.csv", "30,Other,true -- comment", "'-- comment'"),
    ("channels.csv", "30,Other,medium = 'open", '"\'open"'),
    ("channels.csv", "30,Other,lower(medium)", "condition of Other must be true or false, not VARCHAR"),
    ("channels.csv", "30,Other,medium = and", "cannot be read"),
    ("channels.csv", "30,Other,\"regexp_matches(medium, '(')\"", "cannot be read"),
]


@pytest.mark.parametrize(("name", "line", "said"), BROKEN, ids=[f"{name} {line}" for name, line, _ in BROKEN])
def test_a_broken_row_is_named(warehouse: Warehouse, folder: Path, name: str, line: str, said: str) -> None:
    before = rules.load(warehouse, folder)
    add(folder, name, line)
    with pytest.raises(RulesError) as error:
        rules.load(warehouse, folder)
    sentence = str(error.value)
    assert said in sentence
    assert f"0_rules/{name}, line {len((folder / name).read_text().splitlines())}" in sentence
    assert "\n" not in sentence
    assert warehouse.value("select rules_hash from rules.loaded") == before


def test_a_missing_file_and_a_wrong_head_are_named(warehouse: Warehouse, folder: Path) -> None:
    (folder / "sites.csv").write_text("domain;kind;name\n")
    with pytest.raises(RulesError, match=r"sites\.csv, line 1 must be 'domain,kind,name'"):
        rules.load(warehouse, folder)
    (folder / "sites.csv").write_bytes(b"domain,kind,name\nb\xfccher.example,search,x\n")
    with pytest.raises(RulesError, match=r"sites\.csv is not UTF-8"):
        rules.load(warehouse, folder)
    (folder / "sites.csv").unlink()
    with pytest.raises(RulesError, match=r"sites\.csv is missing"):
        rules.load(warehouse, folder)
