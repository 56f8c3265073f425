"""What a load can be asked: each option once, with its type, default and what it does.

From here come `[sources.ksef]` of the configuration files, the command line of `kseflow load`,
the parameters of `ksef_source` and `kseflow.load`, and the table in the README.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from inspect import Parameter, signature
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

from kseflow.constants import EXPORTS_PER_HOUR, REQUESTS_IN_FLIGHT, SIZE_FACTOR, WARSAW
from kseflow.errors import ConfigurationError
from kseflow.shard import Shard

Called = TypeVar("Called", bound=Callable[..., Any])
SubjectType = Literal["Subject1", "Subject2", "Subject3", "SubjectAuthorized"]
SUBJECT_TYPES: tuple[SubjectType, ...] = get_args(SubjectType)


def _option(default: Any, help: str, **more: Any) -> Any:
    """Declare a field; `more` are `flag`, `metavar`, `least`, `most` and `is_in_files`."""
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a load, for every taxpayer alike; moments are aware and in UTC.

    Text is taken as files and command lines have it: a date or moment without a zone is
    Warsaw's. Raises `ConfigurationError`, naming the value and what is allowed.
    """

    since: datetime | None = _option(
        None,
        "list sessions changed since this day or moment (Warsaw time unless it has a zone), "
        "instead of since the last load",
        metavar="DATE",
        is_in_files=False,
    )
    in_progress: Literal["failed", "all"] = _option(
        "failed", "what to read of sessions that are still open"
    )
    detail: Literal["auto", "invoices"] = _option(
        "auto",
        "how accepted invoices are learnt of: auto, from the sessions' receipts (UPO) while there "
        "is more to read than the hour's /invoices allow; invoices, never from those",
    )
    exports_per_hour: int = _option(
        EXPORTS_PER_HOUR,
        "export packages an hour for each subject type, of which KSeF takes 20 for all four "
        "together; 0 for none",
        least=0,
        most=1000,
    )
    exports_from: datetime | None = _option(
        None,
        "export nothing stored before this day or moment; 1 February 2026, when KSeF 2.0 began",
        metavar="DATE",
    )
    subject_types: tuple[SubjectType, ...] = _option(
        SUBJECT_TYPES,
        "export only as seller (Subject1), buyer (Subject2), Subject3 or SubjectAuthorized; "
        "may be repeated",
        flag="--subject-type",
    )
    xml_folder: Path | None = _option(
        None,
        "export the invoices' XML as well from now on, as DIR/2026-11/KSeF number.xml, which "
        "makes packages larger; all of it with a --database of its own",
        flag="--with-xml",
        metavar="DIR",
    )
    compression: Literal["Zip", "TarGz"] = _option("Zip", "how packages are compressed")
    requests_in_flight: int = _option(
        REQUESTS_IN_FLIGHT,
        "how many requests may be under way at once, over all taxpayers",
        least=1,
        most=1000,
    )
    shard: Shard | None = _option(
        None,
        "load only this share of the taxpayers, 3/8 the third of eight, into a file of its own "
        "(ksef-3-of-8-load.duckdb); kseflow build unites them. Shares of one address divide what "
        "KSeF allows an address",
        metavar="N/COUNT",
    )
    size_factor: int = _option(
        SIZE_FACTOR,
        "how many times the size that KSeF documents an answer, invoice, part of a package or "
        "receipt may have; memory goes with it",
        least=1,
        most=1000,
    )

    def __post_init__(self) -> None:
        for option in OPTIONS:
            value = _read(option, getattr(self, option.name))
            object.__setattr__(self, option.name, value)


@dataclass(frozen=True)
class Option:
    """One declaration: `choices` are allowed texts, `least` and `most` bound a number."""

    name: str
    kind: type  # of a value: str, int, datetime, Path or Shard
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    is_many: bool = False
    flag: str = ""
    metavar: str | None = None
    least: int | None = None
    most: int | None = None
    is_in_files: bool = True

    @property
    def annotation(self) -> Any:
        """The type of a parameter that may be left out: its default is then the configured one."""
        one: Any = Literal[self.choices] if self.choices else self.kind
        return (list[one] if self.is_many else one) | None

    @property
    def allowed(self) -> str:
        """What a value may be, for messages."""
        if self.kind is int:
            return f"a whole number from {self.least} to {self.most}"
        if self.kind is datetime:
            return "a day or moment, 2026-11-20 or 2026-11-20T08:00"
        if self.kind is Shard:
            return "a share of the taxpayers, 3/8 the third of eight"
        return ", ".join(self.choices) or "a folder"

    @property
    def default_text(self) -> str:
        """The default as a reader of the help needs it; empty when there is none, or it is all."""
        return "" if self.default is None or self.is_many else str(self.default)


def _declared() -> Iterator[Option]:
    for declared in fields(Options):
        kind: Any = declared.type
        if isinstance(kind, UnionType):  # X | None
            kind = get_args(kind)[0]
        if is_many := get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        flag = f"--{declared.name.replace('_', '-')}"
        more: dict[str, Any] = {"flag": flag, **declared.metadata}
        yield Option(
            name=declared.name,
            kind=str if choices else kind,
            default=declared.default,
            choices=choices,
            is_many=is_many,
            **more,
        )


OPTIONS = tuple(_declared())


def _read(option: Option, value: Any) -> Any:
    """Make an option's value of what was given. Raises `ConfigurationError`."""
    if option.is_many:
        if isinstance(value, str):
            value = [value]
        return tuple(_read_one(option, one) for one in value or option.default)
    return option.default if value is None else _read_one(option, value)


def _read_one(option: Option, value: Any) -> Any:
    if option.choices and value not in option.choices:
        raise ConfigurationError(f"{option.name} is {value!r}; it may be {option.allowed}")
    if option.kind is datetime:
        return moment(option.name, value)
    if option.kind is int:
        return _number(option, value)
    return Shard.of(value) if option.kind is Shard else option.kind(value)


def _number(option: Option, value: Any) -> int:
    least, most = option.least, option.most
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, float | bool) or not (least or 0) <= number <= (most or number):
        raise ConfigurationError(f"{option.name} is {value!r}; it may be {option.allowed}")
    return number


def moment(name: str, value: object) -> datetime:
    """Read a day or moment, Warsaw's where it has no zone. Raises `ConfigurationError`."""
    try:
        read = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return (read if read.tzinfo else read.replace(tzinfo=WARSAW)).astimezone(UTC)
    except (ValueError, OverflowError):  # the first and the last day have no moment elsewhere
        raise ConfigurationError(
            f"{name} is {value!r}, which is no date; write 2026-11-20 or 2026-11-20T08:00"
        ) from None


def with_options(function: Called) -> Called:
    """Give a function that takes `**options` a parameter for each, for those who ask for them."""
    own = signature(function)
    named = [p for p in own.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    options = [
        Parameter(o.name, Parameter.KEYWORD_ONLY, default=o.default, annotation=o.annotation)
        for o in OPTIONS
    ]
    function.__signature__ = own.replace(parameters=[*named, *options])  # type: ignore[attr-defined]
    return function


DEFAULTS = Options()
