"""systemd's units and cron's lines, filled in for one installation."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

from kseflow.errors import ConfigurationError
from kseflow.shard import Shard

TEMPLATES = Path(__file__).parent
SYSTEMD = TEMPLATES / "systemd"


@dataclass(frozen=True)
class Installation:
    """Where kseflow runs: its executable, the folder with `.dlt`, the user, the analysts' file.

    With `shards` more than 1, so many loads go on at once, and a build follows them.
    """

    kseflow: Path
    folder: Path
    user: str
    database: Path = Path("ksef.duckdb")
    shards: int = 1

    def __post_init__(self) -> None:
        Shard(1, self.shards)  # says how many there may be
        for text in (self.kseflow, self.folder, self.user, self.database):
            if not str(text).isprintable():
                raise ConfigurationError(f"{str(text)!r} cannot stand in a unit or in a crontab")

    @property
    def writable(self) -> tuple[Path, ...]:
        """The folders that loads and builds write."""
        return tuple(dict.fromkeys((self.folder, (self.folder / self.database).parent)))


def owner(folder: Path) -> str:
    """Return who a folder belongs to, by number where it has no name."""
    try:
        return folder.owner()
    except KeyError:
        return str(folder.stat().st_uid)


def units(installation: Installation) -> dict[str, str]:
    """Return the text of each unit by its file name."""
    shards = installation.shards
    names = ["kseflow.service", "kseflow.timer", "kseflow-check.service", "kseflow-check.timer"]
    sources = {name: name for name in names}
    if shards > 1:
        sources["kseflow.service"] = "kseflow-shards.service"
        sources["kseflow-load@.service"] = "kseflow-load@.service"
    values = {
        "user": installation.user,
        "folder": _escaped(str(installation.folder)),
        "writable": " ".join(_quoted(str(path)) for path in installation.writable),
        "kseflow": _executable(installation.kseflow),
        "database": f" --database {_quoted(str(installation.database))}",
        "shards": str(shards),
        "instances": " ".join(f"kseflow-load@{n}.service" for n in range(1, shards + 1)),
    }
    values["hardening"] = _filled(SYSTEMD / "hardening.conf", values).rstrip()
    return {name: _filled(SYSTEMD / source, values) for name, source in sources.items()}


def cron_lines(installation: Installation) -> str:
    """Return the lines of a crontab."""
    kseflow, shards = _in_cron(str(installation.kseflow)), installation.shards
    database = f" --database {_in_cron(str(installation.database))}"
    load = f"{kseflow} load --build --quiet{database}"
    if shards > 1:
        load = (
            f"( for n in $(seq {shards}); do {kseflow} load --shard $n/{shards} --quiet{database} "
            f"& done; wait; {kseflow} build --quiet{database} )"
        )
    folder = _in_cron(str(installation.folder))
    values = {"folder": folder, "kseflow": kseflow, "database": database, "load": load}
    return _filled(TEMPLATES / "crontab", values)


def _filled(template: Path, values: dict[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(values)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")  # which begins a specifier


def _quoted(text: str) -> str:
    """Write one word of a command line as systemd reads it."""
    escaped = _escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if escaped != shlex.quote(escaped) else escaped


def _executable(path: Path) -> str:
    """Write the path of a program, in which systemd takes no quotes and no variables."""
    if set("\"'\\") & set(str(path)):
        raise ConfigurationError(f"systemd runs nothing with a quote in its path: {path}")
    return f'"{_escaped(str(path))}"' if " " in str(path) else _escaped(str(path))


def _in_cron(text: str) -> str:
    """Write one word for the shell, and % as cron wants it."""
    return shlex.quote(text).replace("%", "\\%")
