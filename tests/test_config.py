"""What people write in footfall.toml and FOOTFALL_*: taken whole, or refused with a sentence."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

import config
from transforms.definitions import Definitions, Funnel, Journey, Retention

SOURCE = '[[source]]\nname = "web"\n'
FUNNEL = SOURCE + '[[funnel]]\nname = "checkout"\nsteps = [{ event = "A" }, { page = "/b*" }, { event = "C" }]\n'
RETENTION = SOURCE + '[[retention]]\nname = "buyers"\nstart = { event = "A" }\nreturns = { event = "A" }\n'
A_TIME = 'must be a time such as "30m", "24h", "14d" or "1w".'
JOURNEY = SOURCE + '[[journey]]\nname = "way"\n'


def complaint(text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(config.ConfigError) as error:
        config.read(text, env or {})
    return str(error.value)


def definitions(text: str) -> Definitions:
    return msgspec.convert(config.read(text, {}).definitions(), Definitions)


def test_one_source_is_enough_and_the_models_get_their_own_defaults() -> None:
    assert definitions(SOURCE) == Definitions()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FUNNEL, "funnels"),
        (RETENTION, "retentions"),
        (JOURNEY, "journeys"),
    ],
)
def test_a_named_question_has_the_defaults_of_the_models(text: str, expected: str) -> None:
    (made,) = getattr(definitions(text), expected)
    if isinstance(made, Funnel):
        assert made == Funnel(name=made.name, steps=made.steps)
    elif isinstance(made, Retention):
        assert made == Retention(name=made.name, start=made.start, returns=made.returns)
    else:
        assert made == Journey(name=made.name)


def test_every_option_reaches_the_models() -> None:
    text = (
        FUNNEL
        + """
order = "strict"
window = "none"
step_window = ["1h", "2d"]
unit = "session"
entry_period = "week"
reentry = "optimized"
counting = "totals"
either_within_s = 2
breakdown = "device"
breakdown_from = "step:2"
strict_ignore = ["X"]
exclude = [{ event = "Cancelled" }, { event = "D", from = 2, to = 3 }]
[[retention]]
name = "r"
start = { event = "A", where = { plan = "pro", seats = 3, trial = false } }
returns = { page = "/x" }
period = "month"
mode = "brackets"
brackets = [1, "2-7", [8, 40]]
clock = "rolling_24h"
entry = "recurring"
min_occurrences = 2
value = "sum(revenue)"
warmup = "2w"
[[journey]]
name = "j"
end = { page = "/" }
events = ["A"]
clean = [{ match = "/h/*", as = "help" }]
max_steps = 9
scope = "person"
window = "12h"
[[page]]
match = "/product/*"
as = "/product/:id"
"""
    )
    made = definitions(text)
    (funnel,) = made.funnels
    assert (funnel.window_us, funnel.step_window_us) == (None, (3_600_000_000, 172_800_000_000))
    assert [(each.event, each.from_, each.to) for each in funnel.exclude] == [
        ("Cancelled", 1, 3),
        ("D", 2, 3),
    ]
    assert (funnel.order, funnel.unit, funnel.entry_period) == ("strict", "session", "week")
    assert (funnel.reentry, funnel.counting, funnel.ties) == ("optimized", "totals", "either")
    assert (funnel.either_within_us, funnel.breakdown, funnel.breakdown_from) == (
        2_000_000,
        "device",
        "step:2",
    )
    (retention,) = made.retentions
    assert retention.start.where == {"plan": "pro", "seats": 3, "trial": False}
    assert retention.brackets == ((1, 1), (2, 7), (8, 40))
    assert retention.intervals == 40  # the last index that a bracket needs
    assert (retention.warmup_days, retention.value, retention.min_occurrences) == (14, "sum(revenue)", 2)
    (journey,) = made.journeys
    assert (journey.max_steps, journey.scope, journey.window_us) == (9, "person", 43_200_000_000)
    assert (journey.clean[0].match, journey.clean[0].as_) == ("/h/*", "help")
    assert made.pages[0].as_ == "/product/:id"


def test_every_cut_of_sessions_reaches_the_models() -> None:
    cuts = ("cut_at_midnight", "cut_on_client_id", "cut_on_campaign", "cut_on_user_change")
    text = "\n".join(f"{name} = true" for name in cuts)
    made = definitions(f'{SOURCE}[sessions]\n{text}\ncut_on_events = ["Visit *"]').sessions
    assert all(getattr(made, name) for name in cuts)
    assert made.cut_on_events == ("Visit *",)


def test_dates_of_entry_bound_a_funnel_over_all_time() -> None:
    (funnel,) = definitions(FUNNEL + 'entry_period = "all"\nfrom = 2026-01-01\nto = "2026-02-01"').funnels
    assert (funnel.from_, funnel.to) == (date(2026, 1, 1), date(2026, 2, 1))
    assert '"from" and "to" need "entry_period" = "all"' in complaint(FUNNEL + "to = 2026-01-01")
    assert "must not lie behind" in complaint(FUNNEL + 'entry_period = "all"\nfrom = 2026-01-02\nto = 2026-01-01')


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (FUNNEL.replace("/b*", "/b") + 'exclude = [{ event = "C", from = 1 }]', None),
        (
            FUNNEL.replace('{ page = "/b*" }', '{ event = "B" }') + 'exclude = [{ event = "B" }]',
            '"exclude" names "B", which is step 2 itself: nobody could pass.',
        ),
        (
            FUNNEL + 'exclude = [{ event = "*" }]',
            '"exclude" names "*", which every page and event meets: nobody could pass.',
        ),
        (
            FUNNEL.replace('{ page = "/b*" }', '{ event = "Bx" }') + 'exclude = [{ event = "B*" }]',
            "which is step 2 itself",
        ),
        (FUNNEL.replace('{ page = "/b*" }', '{ event = "Bx" }') + 'exclude = [{ event = "B*", to = 2 }]', None),
        (FUNNEL + 'ties = "strict"\neither_within_s = 2', '"either_within_s" needs "ties" = "either"'),
        (JOURNEY + 'include = ["/a"]\nexclude = ["/b", "/a"]', '"/a" is in "include" and in "exclude"'),
        (
            JOURNEY + 'start = { page = "/a/b" }\nexclude = ["/a/*"]',
            '"exclude" leaves out "/a/b", which is the "start"',
        ),
        (
            JOURNEY + 'end = { page = "/a/*" }\ninclude = ["/b", "/c/*"]',
            '"include" leaves out "/a/*", which is the "end"',
        ),
        (JOURNEY + 'end = { page = "/a/*" }\ninclude = ["/b", "*/c"]', None),
        (JOURNEY + 'start = { page = "/a" }\nexclude = ["/a"]\nclean = [{ match = "/*", as = "x" }]', None),
        (JOURNEY + 'start = { page = "/" }\nend = { page = "/" }', None),  # ways that come back
        (JOURNEY + 'exclude = ["*"]', '"exclude" has "*", which every event matches.'),
        (SOURCE + '[sessions]\nignore = ["*"]', '"ignore" has "*", which every event matches.'),
        (SOURCE + '[sessions]\nignore = ["X"]\ncut_on_events = ["X"]', '"X" is in "cut_on_events" and in "ignore"'),
        (SOURCE + '[site]\nkey_events = ["*"]', '"key_events" has "*", which every event matches.'),
        (SOURCE + '[attribution]\ntouches = ["**"]', '"touches" has "*", which every event matches.'),
        (FUNNEL + 'window = "36500d"', None),
        (FUNNEL + 'window = "36501d"', '"window" is "36501d" but must be at most "36500d".'),
        (FUNNEL + 'window = "99999999999999d"', '"window" is "99999999999999d" but must be at most "36500d".'),
        (
            FUNNEL + 'entry_period = "all"\nfrom = 0001-01-01',
            '"from" and "to" must lie between 1900 and 2199, not in 0001.',
        ),
        (RETENTION + 'brackets = ["1-100000000"]', '"brackets" must end at 3660 or before.'),
        (JOURNEY + 'window = "367d"', '"window" must be at most "366d": the models read so far around'),
        (SOURCE + '[sessions]\ncap = "32d"', '"cap" must be at most "31d": the models read so far around'),
        (SOURCE + "[site]\ntimezone = 3", '"timezone" is 3 but must be a zone'),
        (SOURCE + '[site]\ntimezone = "right/Europe/Rome"', '"timezone" is "right/Europe/Rome" but must be a zone'),
        (SOURCE + '[site]\ntimezone = "Europe/Atlantis"', '"timezone" is "Europe/Atlantis" but must be a zone'),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused(text: str, sentence: str | None) -> None:
    if sentence is None:
        assert definitions(text)
    else:
        assert sentence in complaint(text)


def test_one_step_window_holds_between_all_steps() -> None:
    (funnel,) = definitions(FUNNEL + 'step_window = "1h"').funnels
    assert funnel.step_window_us == (3_600_000_000, 3_600_000_000)


def test_where_a_source_may_send_from_is_an_own_domain() -> None:
    text = SOURCE + 'origins = ["https://shop.example", "*"]\naliases = ["www.shop.example", "app-1"]\n'
    made = definitions(text + '[site]\nhosts = ["old.example"]')
    assert made.site.hosts == ("old.example", "shop.example", "www.shop.example")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            SOURCE + '[sessions]\ngapp = "1m"',
            'footfall.toml: [sessions] has no key "gapp". Did you mean "gap"?',
        ),
        (
            SOURCE + '[sesions]\ngap = "1m"',
            "footfall.toml has no section [sesions]. Did you mean [sessions]?",
        ),
        (
            SOURCE + '[sessions]\ngap = "soon"',
            f'footfall.toml: [sessions]: "gap" is "soon" but {A_TIME}',
        ),
        (
            SOURCE + '[sessions]\ngap = "0m"',
            f'footfall.toml: [sessions]: "gap" is "0m" but {A_TIME}',
        ),
        (
            SOURCE + '[sessions]\ngap = "48h"',
            'footfall.toml: [sessions]: "gap" must not be longer than "cap".',
        ),
        ("", 'footfall.toml needs at least one [[source]] with a "name".'),
        (
            SOURCE + "[land]\nbatch_events = 0",
            'footfall.toml: [land]: "batch_events" is 0 but must be at least 1.',
        ),
        (
            SOURCE + '[site]\ntimezone = "Europe/Amsterdm"',
            'footfall.toml: [site]: "timezone" is "Europe/Amsterdm" '
            'but must be a zone such as "UTC" or "Europe/Amsterdam".',
        ),
        (
            SOURCE + '[site]\ncurrency = "euro"',
            'footfall.toml: [site]: "currency" is "euro" but must be three capital letters such as "EUR".',
        ),
        (
            FUNNEL + 'order = "orderd"',
            'footfall.toml: [[funnel]] "checkout": "order" is "orderd" but must be one of '
            '"ordered", "strict", "any". Did you mean "ordered"?',
        ),
        (
            FUNNEL + 'step_window = ["1h", "1h", "1h"]',
            'footfall.toml: [[funnel]] "checkout": "step_window" must be one time, or a list of 2: '
            "one from step to step.",
        ),
        (
            FUNNEL + 'entry_period = "all"\nfrom = "yesterday"',
            'footfall.toml: [[funnel]] "checkout": "from" is "yesterday" but must be a date such as 2026-01-31.',
        ),
        (
            SOURCE + '[[funnel]]\nname = "c"\nsteps = [{ event = "a", where = { x = ["y"] } }, { event = "b" }]',
            'footfall.toml: [[funnel]] "c", steps number 1 where: must ask "x" for one text, one number, '
            "true or false.",
        ),
        (
            SOURCE + '[site]\nrevenue_includes = "vat"',
            'footfall.toml: [site], revenue_includes number 1 is "vat" but must be one of "tax", "shipping".',
        ),
        (
            SOURCE + '[[page]]\nmatch = "/*"\nas = "/all"',
            'footfall.toml: [[page]] "/*" would make one of all pages. Name those that are one.',
        ),
        (
            SOURCE + '[[journey]]\nname = "j"\nclean = [{ match = "*", as = "all" }]',
            'footfall.toml: [[journey]] "j", clean number 1: "match" = "*" would make one of all pages. '
            "Name those that are one.",
        ),
        (
            FUNNEL + 'window = "none"',
            'footfall.toml: [[funnel]] "checkout": needs a "window" or a "step_window".',
        ),
        (
            SOURCE + '[[funnel]]\nname = "c"\nsteps = [{ event = "a" }]',
            'footfall.toml: [[funnel]] "c": "steps" must have at least 2.',
        ),
        (
            SOURCE + '[[funnel]]\nname = "c"\nsteps = [{ event = "a" }, { event = "b", page = "/" }]',
            'footfall.toml: [[funnel]] "c", steps number 2: must have either an "event" or a "page", '
            "not both and not neither.",
        ),
        (FUNNEL + FUNNEL.removeprefix(SOURCE), 'footfall.toml: two [[funnel]] have the name "checkout"'),
        (
            SOURCE + '[[source]]\nname = "app"\naliases = ["web"]',
            'footfall.toml: [[source]] "web" and "app" both have "web" as a name, key or alias',
        ),
        (
            SOURCE + 'write_key = "k"\n[[source]]\nname = "app"\nwrite_key = "k"',
            'footfall.toml: [[source]] "web" and "app" both have "k" as a name, key or alias',
        ),
        (
            SOURCE + 'write_key = "k"\nsecret_key = "k"',
            "secret_key must differ from write_key, which is public",
        ),
        (
            SOURCE + '[[page]]\nmatch = "/x"',
            'footfall.toml: [[page]] "/x" is without "as", which it must have.',
        ),
        (RETENTION + "intervals = 0", '[[retention]] "buyers": "intervals" is 0 but must be at least 1.'),
        (RETENTION + 'brackets = ["7-2"]', "must hold ranges that begin at 0 or later"),
        (JOURNEY + 'scope = "person"', 'with scope "person" needs a "start" or an "end"'),
        ("[[source", "footfall.toml is not TOML: "),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(text: str, sentence: str) -> None:
    assert sentence in complaint(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (SOURCE + "[collector]\ndepth = 5", '"depth" is not built yet'),
        (SOURCE + '[sessions]\npreset = "ga4"', '"preset" is not built yet'),
        (SOURCE + "[heatmap]\nbin = 1", "[heatmap] is not built yet"),
        (SOURCE + '[[segment]]\nname = "x"', "[[segment]] is not built yet"),
        (FUNNEL + 'on_exclude = "stop"', '"on_exclude" = "stop" is not built yet'),
        (FUNNEL + 'hold = ["device"]', '"hold" is not built yet'),
        (FUNNEL + 'breakdown_from = "all"', '"breakdown_from" = "all" is not built yet'),
        (JOURNEY + 'segment = "x"', '"segment" is not built yet'),
    ],
)
def test_what_is_planned_but_not_built_is_refused(text: str, key: str) -> None:
    assert key in complaint(text)


def test_all_problems_are_told_at_once() -> None:
    assert len(complaint(SOURCE + '[land]\ndedup_hours = "x"\nbatch_event = 1').splitlines()) == 2


def test_the_environment_wins_and_is_converted() -> None:
    env = {
        "FOOTFALL_SOURCE__MY_SHOP__SECRET_KEY": "s3cret",
        "FOOTFALL_SESSIONS__GAP": "5m",
        "FOOTFALL_LAND__DEDUP_HOURS": "24",
        "FOOTFALL_SITE__KEY_EVENTS": "A, B",
        "FOOTFALL_SITE__HOSTS": '["a.example"]',
        "FOOTFALL_HOME": "elsewhere",
        "OTHER__THING": "x",
    }
    made = config.read('[[source]]\nname = "my-shop"\n[sessions]\ngap = "30m"', env)
    assert made.sources[0].secret_key == "s3cret"
    assert made.sessions.gap == timedelta(minutes=5)
    assert made.land.dedup_hours == 24
    assert made.site.key_events == ("A", "B")
    assert made.site.hosts == ("a.example",)


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("FOOTFALL_SESSIONS__GAPP", 'FOOTFALL_SESSIONS__GAPP has no key "gapp". Did you mean "gap"?'),
        ("FOOTFALL_SESIONS__GAP", "FOOTFALL_SESIONS__GAP has no section [sesions]. Did you mean [sessions]?"),
        ("FOOTFALL_LAND__DEDUP_HOURS", 'FOOTFALL_LAND__DEDUP_HOURS is "many" but must be a whole number.'),
        (
            "FOOTFALL_SOURCE__WEBB__X",
            "FOOTFALL_SOURCE__WEBB__X names no [[source]] of footfall.toml (there: web).",
        ),
        (
            "FOOTFALL_COLLECTOR__TRUSTED_PROXIES",
            'FOOTFALL_COLLECTOR__TRUSTED_PROXIES is "many" but must hold addresses or networks',
        ),
        ("FOOTFALL_SITE__", "FOOTFALL_SITE__ is not of the form FOOTFALL_SECTION__KEY."),
    ],
)
def test_a_wrong_variable_is_named(variable: str, sentence: str) -> None:
    assert sentence in complaint(SOURCE, {variable: "many"})


def test_a_secret_is_never_repeated_in_a_complaint() -> None:
    assert "s3cret" not in complaint(SOURCE + 'secret_key = ["s3cret"]\n')
    text = '[[source]]\nname = "{}"\nsecret_key = "s3cret"\n'
    assert "s3cret" not in complaint(text.format("a") + text.format("b"))


KAFKA = SOURCE + '[kafka]\nbootstrap = ["a:9092", "b:9092"]\n'
SASL = KAFKA + '[kafka.security]\nprotocol = "SASL_SSL"\nmechanism = "SCRAM-SHA-512"\nusername = "me"\n'


def test_kafka_clients_get_what_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    made = config.read(SASL + 'cafile = "ca.pem"', {"FOOTFALL_KAFKA__SECURITY__PASSWORD": "s3cret"})
    assert made.kafka
    assert made.kafka.client(tmp_path) == {
        "bootstrap_servers": ["a:9092", "b:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "s3cret",
        "ssl_cafile": str(tmp_path / "ca.pem"),
        "ssl_certfile": None,
        "ssl_keyfile": None,
    }
    assert "s3cret" not in repr(made)
    plain = config.read(SOURCE, {"FOOTFALL_KAFKA__BOOTSTRAP": "localhost:1, [::1]:2, 127.0.0.2:3"})
    assert plain.kafka
    assert plain.kafka.client(tmp_path)["bootstrap_servers"] == ["localhost:1", "[::1]:2", "127.0.0.2:3"]


def test_a_password_file_must_be_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "kafka.password"
    made = config.read(SASL + 'password_file = "kafka.password"', {})
    assert made.kafka
    with pytest.raises(config.ConfigError, match='"password_file": there is no file'):
        made.kafka.client(tmp_path)
    path.write_text("s3cret\n")
    path.chmod(0o644)
    with pytest.raises(config.ConfigError, match=r"Others may read .* Run: chmod 600"):
        made.kafka.client(tmp_path)
    path.chmod(0o600)
    assert made.kafka.client(tmp_path)["sasl_plain_password"] == "s3cret"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (KAFKA, '"a:9092" is another machine, and protocol "PLAINTEXT" would send events there for all to read'),
        (SASL.replace("SASL_SSL", "SASL_PLAINTEXT") + 'password = "a"', 'to "SSL" or "SASL_SSL"'),
        (KAFKA + "topic = 'a b'", "must be letters, digits, dots, dashes or underscores, 249 at most"),
        (SOURCE + '[kafka]\nbootstrap = "localhost"', '"bootstrap" must hold addresses such as "127.0.0.1:9092"'),
        (SOURCE + "[kafka]\nbootstrap = []", "must have at least 1"),
        (SASL, 'needs either a "password" or a "password_file"'),
        (SASL + 'password = "a"\npassword_file = "b"', 'needs either a "password" or a "password_file"'),
        (SASL.replace("username", "#"), 'protocol "SASL_SSL" needs a "username"'),
        (KAFKA + '[kafka.security]\npassword = "s3cret"', '"password" needs protocol "SASL_SSL"'),
        (KAFKA + '[kafka.security]\ncafile = "a"', '"cafile" needs protocol "SSL" or "SASL_SSL"'),
        (KAFKA + '[kafka.security]\nprotocol = "SSL"\nkeyfile = "a"', '"keyfile" needs a "certfile"'),
        (KAFKA + '[kafka.security]\nprotocol = "TLS"', 'must be one of "PLAINTEXT", "SSL"'),
        (KAFKA + "[kafka.security]\npassword = ['s3cret']", '"password" must be text in quotes'),
        (KAFKA + "[kafka.security]\nuser = 'x'", 'has no key "user". Did you mean "username"?'),
    ],
)
def test_what_kafka_cannot_be_reached_with_is_refused(text: str, sentence: str) -> None:
    said = complaint(text)
    assert sentence in said
    assert "s3cret" not in said


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=r"There is no .*footfall\.toml\. Make one with: footfall init"):
        config.load(tmp_path, {})


def test_a_file_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "footfall.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(config.ConfigError, match="is not UTF-8 text"):
        config.load(tmp_path, {})


def test_the_settings_are_frozen() -> None:
    made = config.read(SOURCE, {})
    with pytest.raises(ValidationError, match="frozen"):
        made.site.name = "x"


# Keys whose lines in the starter file are examples: they have no default, or none that TOML can say.
EXAMPLES = {
    ("Source", "write_key"),
    ("Source", "origins"),
    ("Collector", "rate_per_key"),
    ("Collector", "rate_per_address"),
    ("WarehouseLimits", "memory_limit"),
    ("WarehouseLimits", "threads"),
    ("Funnel", "step_window"),
    ("Funnel", "exclude"),
    ("Funnel", "breakdown"),
    ("Retention", "breakdown"),
    ("Journey", "start"),
    ("Journey", "end"),
    ("Journey", "clean"),
    ("Kafka", "security"),
}


def test_the_starter_file_is_valid_as_it_is() -> None:
    made = config.read(config.starter(), {})
    assert [source.name for source in made.sources] == ["web"]


def test_the_defaults_in_the_starter_file_are_the_real_ones() -> None:
    opened = re.sub(r"^# (?=\[|\w+ = |    \{|\])", "", config.starter(), flags=re.MULTILINE)
    made = config.read(opened, {})
    assert made.pages
    assert made.kafka
    assert made.kafka.security.password_file
    checked = 0
    parts: list[BaseModel] = [
        *(getattr(made, name) for name in type(made).model_fields if isinstance(getattr(made, name), BaseModel)),
        *made.sources,
        *made.funnels,
        *made.retentions,
        *made.journeys,
    ]
    for part in parts:
        for name in part.model_fields_set:
            field = type(part).model_fields[name]
            if (type(part).__name__, name) in EXAMPLES or field.default is PydanticUndefined:
                continue
            assert getattr(part, name) == field.default, f"{type(part).__name__}.{name}"
            checked += 1
    assert checked > 45


def test_the_starter_file_shows_every_key() -> None:
    shown = config.starter()
    left_out = {"security", "password", "from", "to", "secret_key"}
    models = [config._model(section.annotation) for section in config.Config.model_fields.values()]
    for model in (*models, config.Security):
        assert model is not None
        for name, field in model.model_fields.items():
            key = field.alias or name
            if key not in left_out:
                assert re.search(rf"^(# )?{key} = ", shown, re.MULTILINE), key
