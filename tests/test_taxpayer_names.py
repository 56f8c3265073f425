"""A taxpayer's name, from the configuration to what a person reads."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from kseflow.context import Context
from kseflow.logins import configured_credentials
from kseflow.terminal import print_status
from tests.conftest import Stage

Configured = Callable[..., dict[str, str | None]]

FIRST, SECOND = "7438939438", "8351915077"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configured:
    """Configure in the environment of a machine that has a NAME of its own, as many have."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAME", "of the machine")

    def write(**values: str) -> dict[str, str | None]:
        for name, value in values.items():
            monkeypatch.setenv(f"SOURCES__KSEF__{name}", value)
        return {login.context.id: login.context.name for login in configured_credentials()}

    return write


def test_one_taxpayers_name_stands_beside_its_nip(configured: Configured) -> None:
    assert configured(NIP=FIRST, TOKEN="x") == {FIRST: None}
    assert configured(NAME="  Zakłady Mięsne ") == {FIRST: "Zakłady Mięsne"}
    assert configured(NAME=" ") == {FIRST: None}


def test_a_name_is_taken_from_the_taxpayers_own_section_alone(configured: Configured) -> None:
    tokens = {"MEAT__TOKEN": "x", "TRANSPORT__TOKEN": "x", "TAXPAYERS": '["meat", "transport"]'}
    nips = {"MEAT__NIP": FIRST, "TRANSPORT__NIP": SECOND}
    names = {"NAME": "of the section above", "MEAT__NAME": "Zakłady Mięsne"}
    assert configured(**tokens, **nips, **names) == {FIRST: "Zakłady Mięsne", SECOND: None}


def test_a_name_does_not_make_another_taxpayer() -> None:
    assert Context("Nip", FIRST, "Zakłady Mięsne") == Context("Nip", FIRST)
    assert len({Context("Nip", FIRST, "Zakłady Mięsne"), Context("Nip", FIRST)}) == 1


def named(made: Stage, name: str | None) -> Stage:
    first, second = made.contexts
    made.contexts = [replace(first, name=name), second]
    made.tokens = dict(zip(made.contexts, made.tokens.values(), strict=True))
    return made


def test_every_run_writes_the_name_and_status_tells_the_last_one(
    stage: Callable[..., Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    made = named(stage(days=1), "Zakłady [b]Mięsne[/b]")
    made.load(only=["sessions"])
    rows = made.rows("select context_id, taxpayer_name from ksef_raw.sync_log")
    assert {row["taxpayer_name"] for row in rows if row["context_id"] == made.contexts[0].id} == {
        "Zakłady [b]Mięsne[/b]"
    }
    assert {row["taxpayer_name"] for row in rows if row["context_id"] == made.contexts[1].id} == {
        None
    }
    print_status(made.status(), as_json=False)
    told = capsys.readouterr().out
    assert "Zakłady [b]Mięsne[/b]" in told
    assert f"NIP {made.contexts[0].id}" in told
    made.clock.sleep(1)
    named(made, "Renamed").load(only=["sessions"])
    assert [state.context.name for state in made.status()] == ["Renamed", None]
    assert made.status()[0].as_json()["taxpayer_name"] == "Renamed"
    made.clock.sleep(1)
    named(made, None).load(only=["sessions"])
    assert [state.context.name for state in made.status()] == [None, None]


def test_without_a_name_in_the_configuration_status_tells_the_sellers(
    stage: Callable[..., Stage],
) -> None:
    made = stage(days=1, exports_per_hour=20)
    made.load()
    sellers = {who.context_id: who.name for who in made.world.taxpayers}
    assert {state.context.id: state.context.name for state in made.status()} == sellers


def test_a_database_of_an_older_version_has_no_names(stage: Callable[..., Stage]) -> None:
    made = stage(days=1)
    made.load(only=["sessions"])
    with duckdb.connect(str(made.database)) as connection:
        connection.execute("alter table ksef_raw.sync_log drop column taxpayer_name")
    assert [state.context.name for state in made.status()] == [None, None]


def test_a_long_name_leaves_the_numbers_their_room(
    stage: Callable[..., Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    made = named(stage(days=1), "Przedsiębiorstwo Produkcyjno-Handlowo-Usługowe Żółć i Synowie")
    made.load(only=["sessions"])
    print_status(made.status(), as_json=False)
    told = capsys.readouterr().out
    assert "Przedsiębiorstwo…" in told
    assert max(map(len, told.splitlines())) <= 120
