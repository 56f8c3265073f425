"""Options are declared once: files, the command line and Python are read alike."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from kseflow import ksef_source
from kseflow.commands.load import load
from kseflow.errors import ConfigurationError
from kseflow.logins import configured_options
from kseflow.options import DEFAULTS, OPTIONS, SUBJECT_TYPES, Options
from tools.documents import options as documented

NAMES = {option.name for option in OPTIONS}


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[Path]:
    """Work in a folder with a `.dlt` of its own, and return that."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SOURCES__")]:
            patch.delenv(name)
        patch.chdir(tmp_path)
        (tmp_path / ".dlt").mkdir()
        yield tmp_path / ".dlt"
    Container()[PluggableRunContext].reload_providers()


def configure(project: Path, text: str) -> None:
    (project / "config.toml").write_text(f"[sources.ksef]\n{text}")
    Container()[PluggableRunContext].reload_providers()  # dlt reads a file once a process


def test_every_option_is_a_flag_a_parameter_of_the_source_and_a_field() -> None:
    assert set(signature(load).parameters) >= NAMES
    assert set(signature(ksef_source).parameters) >= NAMES
    _, *rows = documented()
    assert {row[1].strip("`") for row in rows} - {""} == NAMES - {"since"}
    assert all(told for _, _, told, _ in rows)
    flags = signature(load).parameters
    assert all(flags[name].annotation.__metadata__[0].help for name in NAMES)


def test_nothing_configured_is_the_defaults() -> None:
    assert configured_options() == DEFAULTS == Options()


def test_files_hold_options_and_what_is_given_goes_first(project: Path) -> None:
    configure(
        project,
        'in_progress = "all"\nexports_per_hour = 2\nexports_from = 2026-03-01\n'
        'subject_types = ["Subject2"]\nxml_folder = "xml"\ncompression = "TarGz"\n'
        "requests_in_flight = 5\n",
    )
    assert configured_options(exports_per_hour=0, detail=None) == Options(
        in_progress="all",
        exports_per_hour=0,
        exports_from=datetime(2026, 2, 28, 23, tzinfo=UTC),
        subject_types=("Subject2",),
        xml_folder=Path("xml"),
        compression="TarGz",
        requests_in_flight=5,
    )


def test_variables_go_before_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(project, 'detail = "auto"\n')
    monkeypatch.setenv("SOURCES__KSEF__DETAIL", "invoices")
    monkeypatch.setenv("SOURCES__KSEF__SUBJECT_TYPES", '["Subject1", "Subject3"]')
    options = configured_options()
    assert (options.detail, options.subject_types) == ("invoices", ("Subject1", "Subject3"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('detail = "receipts"', "detail is 'receipts'; it may be auto, invoices"),
        ("exports_per_hour = -1", "exports_per_hour is -1; it may be .* from 0 to 1000"),
        (
            "exports_per_hour = 2.5",
            "exports_per_hour is not of the kind it .* may be a whole number",
        ),
        ('exports_from = "soon"', "exports_from is not of the kind it should be; it may be a day"),
        ('subject_types = ["Subject4"]', f"'Subject4'; it may be {', '.join(SUBJECT_TYPES)}"),
        ("exports_per_hours = 2", r"sources\.ksef\.exports_per_hours: there is no such option"),
    ],
)
def test_what_is_no_option_or_value_is_named_with_what_is_allowed(
    project: Path, line: str, problem: str
) -> None:
    configure(project, line)
    with pytest.raises(ConfigurationError, match=problem):
        configured_options()


def test_an_unknown_variable_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__KSEF__EXPORT_FROM", "2026-03-01")
    with pytest.raises(ConfigurationError, match=r"export_from: there is no such option"):
        configured_options()


def test_text_and_naive_moments_are_warsaws() -> None:
    day: Any = "2026-11-20"
    assert Options(since=day).since == datetime(2026, 11, 19, 23, tzinfo=UTC)
    assert Options(since=datetime(2026, 7, 1, 12)).since == datetime(2026, 7, 1, 10, tzinfo=UTC)  # noqa: DTZ001
