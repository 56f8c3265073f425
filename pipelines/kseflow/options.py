"""What a run is asked to do, for every taxpayer alike."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kseflow.constants import EXPORTS_PER_HOUR
from kseflow.errors import ConfigurationError

SUBJECT_TYPES = ("Subject1", "Subject2", "Subject3", "SubjectAuthorized")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a load; raises `ConfigurationError` for values that are none.

    `since` (aware) lists sessions changed since then instead of since the last run.
    `in_progress` is what is read of open sessions: `failed` or `all`. `detail` is `auto`, which
    learns of accepted invoices from receipts while /invoices has no budget, or `invoices`.
    `exports_per_hour` bounds the packages asked for per taxpayer and subject type, 0 asks for
    none; they go on after the last package, but not before `exports_from` (aware).
    `xml_folder` takes the invoices' XML, which makes packages larger; without it they hold
    metadata only. `compression` of packages is `Zip` or `TarGz`.
    """

    since: datetime | None = None
    in_progress: str = "failed"
    detail: str = "auto"
    exports_per_hour: int = EXPORTS_PER_HOUR
    exports_from: datetime | None = None
    subject_types: tuple[str, ...] = SUBJECT_TYPES
    xml_folder: Path | None = None
    compression: str = "Zip"

    def __post_init__(self) -> None:
        _check("in_progress", self.in_progress, ("failed", "all"))
        _check("detail", self.detail, ("auto", "invoices"))
        _check("compression", self.compression, ("Zip", "TarGz"))
        for subject_type in self.subject_types:
            _check("subject_types", subject_type, SUBJECT_TYPES)


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}; it may be {', '.join(allowed)}")


DEFAULTS = Options()
