"""Examine what a load stands on, and say what to do about each thing that is not right.

A line is one answer. Everything goes on after an error wherever the rest can still be examined.
KSeF is asked for its public keys and its OpenAPI document once, and for each taxpayer's login and
rate limits.
"""

from collections.abc import Collection, Generator, Iterator
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from dlt.common.configuration.utils import get_resolved_traces

from kseflow.api.address import base_url_of
from kseflow.api.credentials import CertificateCredentials, Credentials
from kseflow.clock import Clock
from kseflow.context import Context
from kseflow.errors import ConfigurationError
from kseflow.files import open_to_others
from kseflow.logins import (
    configured_environment,
    configured_options,
    credentials_of,
    left_out_sections,
    taxpayer_names,
)
from kseflow.watch.check import configured_thresholds
from kseflow.watch.doctor.api import examine_service, examine_taxpayer
from kseflow.watch.doctor.contract import examine_contract
from kseflow.watch.doctor.files import examine_databases, spent_requests
from kseflow.watch.doctor.record import examine_recording, refuse_existing
from kseflow.watch.finding import Finding, critical, ok, warning
from kseflow.watch.webhook import configured_webhook

CERTIFICATE_DAYS = 30  # before its end, a certificate should be renewed
PACKAGES = ("kseflow", "dlt", "duckdb", "dbt-core", "dbt-duckdb")


def examine(
    database: Path,
    clock: Clock,
    *,
    environment: str | None = None,
    ids: Collection[str] = (),
    record: Path | None = None,
) -> Iterator[Finding]:
    """Yield the lines as they become known: configuration, database, KSeF, each taxpayer.

    `database` is the analysts' file; `ids` restricts to these taxpayers. What KSeF answers to one
    of them is written to `record`, with stand-ins for all that is secret.
    """
    if record is not None:
        refuse_existing(record)
    yield ok("versions", ", ".join([f"Python {python_version()}", *map(_versioned, PACKAGES)]))
    logins = yield from _examine_configuration(clock, ids)
    wants_exports = yield from _examine_options()
    base_url = None
    try:
        base_url = base_url_of(environment or configured_environment())
    except ConfigurationError as problem:
        yield critical("environment", str(problem), "KSeF will be asked when that is corrected")
    yield from examine_databases(database, base_url)
    if base_url is None:
        return
    is_reached = yield from examine_service(base_url, clock)
    if is_reached:
        yield examine_contract(base_url, clock)
    spent = spent_requests(database, clock.now())
    for login in logins:
        if is_reached:
            yield from examine_taxpayer(base_url, login, clock, spent, wants_exports=wants_exports)
        else:
            yield critical("login", "not tried", "Let KSeF be reached first", login.context)
    if record is not None and is_reached:
        yield from examine_recording(base_url, logins, clock, record)


def _versioned(package: str) -> str:
    return f"{package} {version(package)}"


def _examine_options() -> Generator[Finding, None, bool]:
    """Read the options of load and check; return whether exports are wanted."""
    wants_exports = True
    try:
        wants_exports = configured_options().exports_per_hour > 0
        configured_thresholds()
        is_posted = configured_webhook() is not None
    except ConfigurationError as problem:
        yield critical("configuration", str(problem), "Correct .dlt/config.toml or variables")
        return wants_exports
    if is_posted:
        yield ok("webhook", "kseflow check posts its findings to the configured webhook")
    else:
        yield ok("webhook", "none configured: kseflow check prints its findings only")
    return wants_exports


def _examine_configuration(
    clock: Clock, ids: Collection[str]
) -> Generator[Finding, None, list[Credentials]]:
    """Say who is configured, and how; return the logins that can be tried."""
    logins: dict[Context, Credentials] = {}
    try:
        names: list[str | None] = [*(named := taxpayer_names())]
        left_out = left_out_sections(named)
    except ConfigurationError as problem:
        yield critical("configuration", str(problem), "Correct the files in .dlt")
        return []
    for where in left_out:
        told = f"{where} is not named in taxpayers and is not loaded"
        yield warning("configuration", told, "Name it there, or take the section away")
    for name in names or [None]:
        where = f"sources.ksef.{name}" if name else "sources.ksef"
        get_resolved_traces().clear()
        try:
            login = credentials_of(name)
        except ConfigurationError as problem:
            told = f"{where}: {problem!s}"
            yield critical("configuration", told, "Correct this section; see README")
            continue
        if ids and login.context.id not in ids:
            continue
        if login.context in logins:
            yield critical("configuration", f"{where} is configured twice", "Keep one of the two")
            continue
        logins[login.context] = login
        yield from _examine_login(login, where, clock)
    if unknown := set(ids) - {context.id for context in logins}:
        told = f"--nip {min(unknown)}: no such taxpayer is configured"
        yield critical("configuration", told, "Configure it, or correct the NIP")
    return list(logins.values())


def _examine_login(login: Credentials, where: str, clock: Clock) -> Iterator[Finding]:
    """Say what somebody logs in with and where that is from; never the secret itself."""
    if not isinstance(login, CertificateCredentials):
        yield ok("configuration", f"{where}: a token from {_origin('token')}", login.context)
        return
    told = f"{where}: a certificate, named in {_origin('certificate')}"
    yield ok("configuration", told, login.context)
    if login.key_file and (mode := open_to_others(login.key_file)):
        told = f"others than their owner may read {login.key_file} ({mode}), a private key"
        yield warning("files", told, f"Run chmod go= {login.key_file}", login.context)
    begins, ends = login.certificate.not_valid_before_utc, login.certificate.not_valid_after_utc
    now, renew = clock.now(), "Renew it in the taxpayer application"
    days_left = (ends - now).days
    told = f"valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, {days_left} days left"
    if not begins <= now <= ends:
        yield critical("certificate", f"not valid now: {told}", renew, login.context)
    elif days_left < CERTIFICATE_DAYS:
        yield warning("certificate", told, renew, login.context)
    else:
        yield ok("certificate", told, login.context)


def _origin(key: str) -> str:
    """Return which of dlt's configuration providers the value last read came from."""
    traces = get_resolved_traces().resolved_traces
    return next((str(t.provider_name) for t in reversed(traces) if t.key == key), "the code")
