"""Judge what was published, as a monitoring plugin does: OK, warning, critical or unknown."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import duckdb

from kseflow.clock import SystemClock
from kseflow.constants import MOST_SKEW
from kseflow.context import Context, plain_id
from kseflow.database import published
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.marts.look import with_looks
from kseflow.settings import section, subsections, unknown
from kseflow.watch.finding import Finding, Measure, State, counts_text, document, worst
from kseflow.watch.queries import LEFT_OUT_SQL
from kseflow.watch.questions import CHECKS, Check

MOST_AGE_AHEAD = MOST_SKEW.total_seconds() / 3600  # hours; of ages in days a little more
NAMES = tuple(check.name for check in CHECKS)
AS_OF_SQL = "select looked.as_of, published_at from looked, published"
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


@dataclass(frozen=True)
class Thresholds:
    """From which values on a check warns or alarms; infinite ones never do."""

    warning: Mapping[str, float]
    critical: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """All findings, and the moments (UTC) the copy tells about and was published at."""

    findings: list[Finding]
    as_of: datetime | None
    published_at: datetime

    @property
    def state(self) -> State:
        return worst(self.findings)

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
        topics = dict.fromkeys(finding.topic for finding in self.problems)
        return f"KSEF {self.state.name}: {counts_text(self.problems)}: {', '.join(topics)}"

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        as_of = self.as_of and self.as_of.isoformat()
        moments = {"as_of": as_of, "published_at": self.published_at.isoformat()}
        return document(self.summary, self.findings, self.state, **moments)


def line_of(finding: Finding) -> str:
    """Write a finding of a check as one line: state, taxpayer, check, what, remedy."""
    who = finding.taxpayer
    told = f"{finding.state.name} {who or 'file'} {finding.topic}: {finding.message}"
    if who and who.name:
        told += f" [{who.name}]"
    return f"{told}. {finding.remedy}." if finding.remedy else told


def configured_thresholds(
    warning: Collection[str] = (), critical: Collection[str] = ()
) -> Thresholds:
    """Return the defaults, changed by `[check.warning]` and `[check.critical]`, and by options.

    Options are texts like `failure_rate=0.1`; `inf` turns a threshold off. Raises
    `ConfigurationError` for unknown names, for values that are no numbers, and for a warning
    that would come after the alarm.
    """
    _refuse_unknown()
    warnings, alarms = _given("warning", warning), _given("critical", critical)
    for check in CHECKS:
        if check.name not in warnings.keys() & alarms.keys():
            continue
        first, last = warnings[check.name], alarms[check.name]
        is_off = not (isfinite(first) and isfinite(last))
        if not is_off and (first < last if check.is_low_bad else first > last):
            raise ConfigurationError(
                f"{check.name}: its warning threshold {first:{check.form}} lies beyond its "
                f"critical one, {last:{check.form}}, and could never warn; change one of the two"
            )
    return Thresholds(
        {check.name: check.warning for check in CHECKS} | warnings,
        {check.name: check.critical for check in CHECKS} | alarms,
    )


def _refuse_unknown() -> None:
    """Raise `ConfigurationError` for what nothing reads under `[check]`: it may be misspelt."""
    for key in sorted(section("check").keys() - {"webhook"}):
        raise unknown(f"check.{key}", key, ["webhook"], "option")
    levels = ["critical", "warning"]
    for name in sorted(subsections("check") - set(levels)):
        raise unknown(f"[check.{name}]", name, levels, "section")


def _given(level: str, options: Collection[str]) -> dict[str, float]:
    given = section(f"check.{level}")
    for option in options:
        name, _, value = option.partition("=")
        given[name.strip()] = value
    for name in sorted(set(given) - set(NAMES)):
        raise unknown(f"{level} threshold {name!r}", name, NAMES, "check")
    return {name: _number(level, name, value) for name, value in given.items()}


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
    database: Path = Path("ksef.duckdb"),
    *,
    nips: Collection[str] = (),
    thresholds: Thresholds | None = None,
    now: datetime | None = None,
) -> Verdict:
    """Judge the analysts' file, for all its taxpayers or those with these identifiers.

    Ages are counted to `now` (UTC), the system's time unless given; `thresholds` are the
    configured ones. Raises `WarehouseError` when the file cannot be judged, and
    `ConfigurationError` for thresholds that are none; the messages say what to do.
    """
    limits = thresholds or configured_thresholds()
    with published(database) as connection:
        with_looks(connection, database)
        taxpayers = _taxpayers(connection, database, nips)
        moment = now or SystemClock().now()
        findings = [
            finding
            for check in CHECKS
            for finding in _findings(connection, check, taxpayers, limits, moment)
        ]
        (moments,) = _rows(connection, AS_OF_SQL)
        return Verdict(findings, **moments)


def _taxpayers(
    connection: duckdb.DuckDBPyConnection, database: Path, ids: Collection[str]
) -> list[Context]:
    found = [Context(*row.values()) for row in _rows(connection, TAXPAYERS_SQL)]
    asked = {plain_id(each) for each in ids}
    for unheard_of in sorted(asked - {context.id for context in found}):
        raise WarehouseError(f"--nip {unheard_of}: {database} has no such taxpayer; load it")
    if not found:
        raise WarehouseError(f"{database} has no taxpayers yet; run kseflow load --build")
    return [context for context in found if not ids or context.id in asked]


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
        row = {"value": None, "whole": 0} if check.unjudged else {"value": 0}
    elif row["value"] is not None:
        message = _line(check.says.format(**row))
    value, state = row["value"], State.OK
    if value is None:
        message = check.unjudged.format(**row)
    for limit, reached in ((warning, State.WARNING), (critical, State.CRITICAL)):
        if value is not None and isfinite(limit) and _reaches(check, value, limit):
            state = reached
    if check.is_age and value is not None and value < -MOST_AGE_AHEAD:
        state = State.CRITICAL
        message += ", which is in the future: a clock was wrong, this machine's or the load's"
    elif state is not State.OK:
        limit = critical if state is State.CRITICAL else warning
        message += f" ({state.name.lower()} at {limit:{check.form}})"
    measure = Measure(value, warning, critical, check.form, check.is_low_bad)
    remedy = None if state is State.OK else check.remedy
    return Finding(state, check.name, message, remedy, taxpayer, measure)


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
