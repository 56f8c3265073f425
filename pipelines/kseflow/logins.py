"""Who is loaded, from dlt's own configuration: config.toml, secrets.toml, environment variables.

One taxpayer stands directly in `[sources.ksef]`; several are named in `taxpayers` and stand in
`[sources.ksef.<name>]` each.
"""

import logging
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import dlt
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException, ValueNotSecretException
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.typing import TSecretStrValue

from kseflow.api.credentials import CertificateCredentials, Credentials, TokenCredentials
from kseflow.constants import WARSAW
from kseflow.context import Context, plain_id
from kseflow.errors import ConfigurationError
from kseflow.options import OPTIONS, Options
from kseflow.settings import configuration_files, section, subsections, text_of, unknown
from kseflow.shard import Shard

Spec = TypeVar("Spec", bound=BaseConfiguration)
log = logging.getLogger(__name__)

HELP = (
    "set sources.ksef.nip and sources.ksef.token (SOURCES__KSEF__NIP and SOURCES__KSEF__TOKEN in "
    "the environment), or .certificate instead of .token, in .dlt/config.toml and "
    ".dlt/secrets.toml"
)


KINDS = {"nip": "Nip", "internal_id": "InternalId", "nip_vat_ue": "NipVatUe"}


@configspec
class TaxpayerConfiguration(BaseConfiguration):
    """One taxpayer: one identifier, and a token or a certificate."""

    nip: str | None = None
    internal_id: str | None = None
    nip_vat_ue: str | None = None
    token: TSecretStrValue | None = None
    token_ends_at: datetime | None = None
    certificate: str | None = None
    private_key: str | None = None
    password: TSecretStrValue | None = None


@configspec
class EnvironmentConfiguration(BaseConfiguration):
    """Where to load from, and whom."""

    environment: str | None = None
    taxpayers: list[Any] | None = None


def configured_options(**given: Any) -> Options:
    """Return the options of `[sources.ksef]`; those of `given` that are not None go first.

    Raises `ConfigurationError` for values that are none, and for keys that mean nothing.
    """
    _refuse_unknown("sources.ksef", {*_IN_FILES, *_fields(EnvironmentConfiguration), "max_time_s"})
    spec = _resolved(_options_configuration()(), "sources.ksef")
    values = {name: getattr(spec, name) for name in _IN_FILES}
    return Options(**values | {name: value for name, value in given.items() if value is not None})


_IN_FILES = tuple(option.name for option in OPTIONS if option.is_in_files)


@cache
def _options_configuration() -> type[BaseConfiguration]:
    """Declare the options to dlt; which texts and numbers are allowed, `Options` says."""
    plain = {int: int, datetime: datetime}
    kinds = {
        o.name: (list[Any] if o.is_many else plain.get(o.kind, str)) | None
        for o in OPTIONS
        if o.is_in_files
    }
    members = {"__annotations__": kinds, "__module__": __name__, **dict.fromkeys(kinds)}
    return configspec(type("OptionsConfiguration", (BaseConfiguration,), members))


def _fields(spec: type[BaseConfiguration]) -> set[str]:
    return set(spec.get_resolvable_fields())


def _refuse_unknown(where: str, known: Collection[str]) -> None:
    """Raise `ConfigurationError` for a key that nothing reads: it may be a misspelt one."""
    allowed = {*known, *_fields(TaxpayerConfiguration), "name"}
    for key in sorted(set(section(where)) - allowed):
        raise unknown(f"{where}.{key}", key, sorted(allowed), "option")


def configured_environment() -> str:
    """Return `sources.ksef.environment`; raises `ConfigurationError` when it is not set."""
    environment = _resolved(EnvironmentConfiguration(), "sources.ksef").environment
    if environment is None:
        raise ConfigurationError(
            "no environment: say --environment production, demo, test or a base URL, "
            "or set sources.ksef.environment in .dlt/config.toml"
        )
    return environment


def forget_environment() -> None:
    """Keep the environment out of dlt's trace file: a base URL may have a password in it."""
    read = get_resolved_traces().resolved_traces
    read[:] = [trace for trace in read if trace.key != "environment"]


def configured_credentials(
    ids: Collection[str] = (), shard: Shard | None = None
) -> list[Credentials]:
    """Return the login of every configured taxpayer, or of those with these identifiers.

    Of `shard` alone, if one is given. A NIP may have dashes. Raises `ConfigurationError`, naming
    the taxpayer and what to change.
    """
    named = taxpayer_names()
    for where in left_out_sections(named):
        log.warning("%s is not named in taxpayers and is not loaded", where)
    names: list[str | None] = [*named] or [None]
    found = [credentials_of(name) for name in names if _may_be_of(shard, name)]
    found = shard.own(found) if shard else found
    contexts = Counter(credentials.context for credentials in found)
    for context, count in contexts.items():
        if count > 1:
            raise ConfigurationError(f"{context} is configured twice; keep one of the two")
    asked = {plain_id(each) for each in ids}
    for unheard_of in sorted(asked - {context.id for context in contexts}):
        where = f" in shard {shard}" if shard else ""
        raise ConfigurationError(f"--nip {unheard_of}: no such taxpayer is configured{where}")
    return [credentials for credentials in found if not ids or credentials.context.id in asked]


def _may_be_of(shard: Shard | None, name: str | None) -> bool:
    """Tell whether a section's taxpayer may be of a shard, for less than a login of it costs."""
    given = section(f"sources.ksef.{name}") if shard and name else {}
    identifiers = [(kind, given[key]) for key, kind in KINDS.items() if given.get(key)]
    if shard is None or len(identifiers) != 1:
        return True
    ((kind, value),) = identifiers
    try:
        return shard.has(Context(kind, plain_id(str(value))))
    except ConfigurationError:  # told with the section's name
        return True


def taxpayer_names() -> list[str]:
    """Return `sources.ksef.taxpayers`, empty when one stands directly in `[sources.ksef]`."""
    taxpayers = _resolved(EnvironmentConfiguration(), "sources.ksef").taxpayers
    return [str(name) for name in taxpayers or []]


def left_out_sections(names: Collection[str]) -> list[str]:
    """Return the taxpayers' sections in the files that `taxpayers`, where it is set, lacks."""
    there = sorted(subsections("sources.ksef") - set(names)) if names else []
    sections = [f"sources.ksef.{name}" for name in there]
    return [where for where in sections if section(where).keys() & KINDS.keys()]


def credentials_of(name: str | None) -> Credentials:
    """Return the login in the section of that name. Raises `ConfigurationError`."""
    where = f"sources.ksef.{name}" if name else "sources.ksef"
    if name:
        _refuse_unknown(where, ())
    spec = _resolved(TaxpayerConfiguration(), where)
    identifiers = {kind: getattr(spec, key) for key, kind in KINDS.items()}
    given = {kind: str(value).strip() for kind, value in identifiers.items() if value}
    if not given:
        raise ConfigurationError(f"no taxpayer in {where}: {_hint(name) or HELP}")
    if len(given) > 1:
        raise ConfigurationError(f"{where} has {' and '.join(given)}; keep the one to log in for")
    kind, value = next(iter(given.items()))
    context = Context(kind, plain_id(value), name=_name_in(where))
    if spec.token and spec.certificate:
        raise ConfigurationError(f"{where} has a token and a certificate; keep one")
    if spec.token:
        ends_at = spec.token_ends_at
        return TokenCredentials(
            context,
            str(spec.token).strip(),
            ends_at and (ends_at if ends_at.tzinfo else ends_at.replace(tzinfo=WARSAW)),
        )
    if spec.certificate:
        return CertificateCredentials.from_files(
            context,
            Path(spec.certificate),
            private_key=Path(spec.private_key) if spec.private_key else None,
            password=spec.password,
        )
    raise ConfigurationError(f"{context} has neither token nor certificate: {HELP}")


def _hint(name: str | None) -> str:
    """Say which section may be meant where a taxpayer's is missing; empty where none is like it."""
    sections = subsections("sources.ksef")
    if name is None and sections:
        names = ", ".join(f'"{each}"' for each in sorted(sections))
        return f"name the sections that are there in .dlt/config.toml, taxpayers = [{names}]"
    close = get_close_matches(name or "", sections - {name}, n=1)
    return f"did you mean the section sources.ksef.{close[0]}?" if close else ""


def _name_in(where: str) -> str | None:
    """Return a taxpayer's name from its own section.

    Not as part of the specification: dlt would go on looking outside the section, and find the
    name of another one or of the machine (`NAME`).
    """
    return (dlt.config.get(f"{where}.name", str) or "").strip() or None


def _resolved(spec: Spec, where: str) -> Spec:
    """Fill a configuration from dlt's sources; its errors hold values, which may be secrets."""
    for path in configuration_files():
        text_of(path)  # says of an encoding that is none of TOML's more than dlt does
    try:
        return resolve_configuration(spec, sections=tuple(where.split(".")))
    except TomlProviderReadException as error:
        raise ConfigurationError(" ".join(str(error).split())) from None
    except ValueNotSecretException as error:
        raise ConfigurationError(
            f"{error.key} is a secret and stands in {error.provider_name}, which is none; "
            "move it to .dlt/secrets.toml"
        ) from None
    except ConfigurationException as error:
        field = getattr(error, "field_name", "a value")
        allowed = next((f"; it may be {o.allowed}" for o in OPTIONS if o.name == field), "")
        raise ConfigurationError(
            f"{where}: {field} is not of the kind it should be{allowed}"
        ) from None
