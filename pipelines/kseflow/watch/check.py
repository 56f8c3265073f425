"""Judge what was published, as a monitoring plugin does: OK, warning, critical or unknown."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from math import inf, isfinite, isnan
from pathlib import Path
from typing import Any

import dlt
import duckdb
from dlt.common.configuration.providers.toml import TomlProviderReadException

from kseflow.context import NO_TAXPAYER, Context
from kseflow.database import published
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.watch.questions import CHECKS, LEFT_OUT_SQL, MINIMUM_COUNT, Check

NAMES = tuple(check.name for check in CHECKS)
AS_OF_SQL = "select (select max(as_of) from marts.as_of) as as_of, published_at from published"
TAXPAYERS_SQL = f"""
select context_type, context_id, max(name) as name
from (
    select context_type, context_id, name from marts.taxpayers
    union all
    select context_type, context_id, null from ({LEFT_OUT_SQL})
)
group by all
order by all
"""


class State(IntEnum):
    """A finding's state, and the exit code that monitoring plugins have for it."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Thresholds:
    """From which values on a check warns or alarms; infinite ones never do."""

    warning: Mapping[str, float]
    critical: Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """What one check found for one taxpayer, or for the file where `taxpayer` is None.

    `value` is None where there was too little to judge.
    """

    check: Check
    state: State
    taxpayer: Context | None
    value: float | None
    warning: float
    critical: float
    message: str

    def __str__(self) -> str:
        told = f"{self.state.name} {self.taxpayer or 'file'} {self.check.name}: {self.message}"
        if self.taxpayer and self.taxpayer.name:
            told += f" [{self.taxpayer.name}]"
        return told if self.state is State.OK else f"{told}. {self.check.remedy}."

    @property
    def badness(self) -> tuple[State, float]:
        """What sorts findings of one check; those not judged come first."""
        if self.value is None:
            return self.state, -inf
        return self.state, -self.value if self.check.is_low_bad else self.value

    def as_json(self) -> dict[str, Any]:
        """Return plain values; a threshold that is off is null."""
        return {
            "state": self.state.name,
            "check": self.check.name,
            **(self.taxpayer.as_json() if self.taxpayer else NO_TAXPAYER),
            "value": self.value,
            "warning": self.warning if isfinite(self.warning) else None,
            "critical": self.critical if isfinite(self.critical) else None,
            "message": self.message,
            "remedy": None if self.state is State.OK else self.check.remedy,
        }


@dataclass(frozen=True)
class Verdict:
    """All findings, and the moments (UTC) the copy tells about and was published at."""

    findings: list[Finding]
    as_of: datetime | None
    published_at: datetime

    @property
    def state(self) -> State:
        return max(finding.state for finding in self.findings)

    @property
    def problems(self) -> list[Finding]:
        """The findings that are not OK, critical ones first."""
        found = [finding for finding in self.findings if finding.state is not State.OK]
        return sorted(found, key=lambda finding: -finding.state)

    @property
    def summary(self) -> str:
        """The one line that a monitoring plugin prints."""
        if not self.problems:
            taxpayers = {finding.taxpayer for finding in self.findings} - {None}
            return f"KSEF OK: {len(self.findings)} checks of {len(taxpayers)} taxpayers"
        states = [finding.state for finding in self.problems]
        counts = [
            f"{states.count(state)} {state.name.lower()}"
            for state in (State.CRITICAL, State.WARNING)
            if state in states
        ]
        names = dict.fromkeys(finding.check.name for finding in self.problems)
        return f"KSEF {self.state.name}: {', '.join(counts)}: {', '.join(names)}"


def configured_thresholds(
    warning: Collection[str] = (), critical: Collection[str] = ()
) -> Thresholds:
    """Return the defaults, changed by `[check.warning]` and `[check.critical]`, and by options.

    Options are texts like `failure_rate=0.1`; `inf` turns a threshold off. Raises
    `ConfigurationError` for unknown names and for values that are no numbers.
    """
    return Thresholds(_thresholds("warning", warning), _thresholds("critical", critical))


def _thresholds(level: str, options: Collection[str]) -> dict[str, float]:
    given = _configured(level)
    for option in options:
        name, _, value = option.partition("=")
        given[name.strip()] = value
    if unknown := sorted(set(given) - set(NAMES)):
        raise ConfigurationError(
            f"{level} threshold {unknown[0]!r}: there is no such check; use {', '.join(NAMES)}"
        )
    numbers = {name: _number(level, name, value) for name, value in given.items()}
    return {check.name: getattr(check, level) for check in CHECKS} | numbers


def _configured(level: str) -> dict[str, Any]:
    prefix = f"CHECK__{level.upper()}__"
    named = [name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)]
    try:
        in_files: Any = dlt.config.get(f"check.{level}")
    except TomlProviderReadException as error:
        raise ConfigurationError(_line(str(error))) from None
    if in_files is not None and not isinstance(in_files, dict):
        raise ConfigurationError(f"check.{level} is no table; use {', '.join(NAMES)} in it")
    # The environment goes before the files, as everywhere in dlt.
    return {**(in_files or {}), **{name: os.environ[prefix + name.upper()] for name in named}}


def _number(level: str, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isnan(number):
        raise ConfigurationError(
            f"{level} threshold {name}: {value!r} is no number; "
            f"write NAME=VALUE, where NAME is one of {', '.join(NAMES)}"
        )
    return number


def check(
    database: Path, now: datetime, thresholds: Thresholds, ids: Collection[str] = ()
) -> Verdict:
    """Judge the analysts' file at `now` (UTC), for all its taxpayers or those with these ids.

    Raises `WarehouseError` when it cannot be judged; the message says what to do.
    """
    with published(database) as connection:
        taxpayers = _taxpayers(connection, database, ids)
        findings = [
            finding
            for check in CHECKS
            for finding in _findings(connection, check, taxpayers, thresholds, now)
        ]
        (moments,) = _rows(connection, AS_OF_SQL)
        return Verdict(findings, **moments)


def _taxpayers(
    connection: duckdb.DuckDBPyConnection, database: Path, ids: Collection[str]
) -> list[Context]:
    found = [Context(*row.values()) for row in _rows(connection, TAXPAYERS_SQL)]
    if unknown := set(ids) - {context.id for context in found}:
        raise WarehouseError(f"--nip {min(unknown)}: {database} has no such taxpayer; load it")
    if not found:
        raise WarehouseError(f"{database} has no taxpayers yet; run kseflow load --build")
    return [context for context in found if not ids or context.id in ids]


def _findings(
    connection: duckdb.DuckDBPyConnection,
    check: Check,
    taxpayers: list[Context],
    thresholds: Thresholds,
    now: datetime,
) -> list[Finding]:
    rows = _rows(connection, check.sql, **({"now": now} if "$now" in check.sql else {}))
    if check.is_of_the_file:
        return [_judged(check, thresholds, None, rows[0])]
    by_taxpayer = {Context(row["context_type"], row["context_id"]): row for row in rows}
    return [_judged(check, thresholds, who, by_taxpayer.get(who)) for who in taxpayers]


def _judged(
    check: Check, thresholds: Thresholds, taxpayer: Context | None, row: dict[str, Any] | None
) -> Finding:
    warning, critical = thresholds.warning[check.name], thresholds.critical[check.name]
    message = "nothing found"
    if row is None:
        row = {"value": None, "whole": 0} if check.is_rate else {"value": 0}
    elif row["value"] is not None:
        message = _line(check.says.format(**row))
    value, state = row["value"], State.OK
    if value is None:
        message = f"not judged: {row['whole']} of at least {MINIMUM_COUNT} invoices"
    for limit, reached in ((warning, State.WARNING), (critical, State.CRITICAL)):
        if value is not None and isfinite(limit) and _reaches(check, value, limit):
            state = reached
    if state is not State.OK:
        limit = critical if state is State.CRITICAL else warning
        message += f" ({state.name.lower()} at {limit:{check.form}})"
    return Finding(check, state, taxpayer, value, warning, critical, message)


def _line(text: str) -> str:
    """Make one line of what KSeF or DuckDB told in several."""
    return " ".join(text.split())


def _reaches(check: Check, value: float, limit: float) -> bool:
    return value <= limit if check.is_low_bad else value >= limit


def _rows(
    connection: duckdb.DuckDBPyConnection, sql: str, **parameters: Any
) -> list[dict[str, Any]]:
    answer = connection.execute(sql, parameters) if parameters else connection.execute(sql)
    names = [column[0] for column in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
