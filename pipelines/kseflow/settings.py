"""What dlt's configuration says, without dlt, whose import takes longer than what needs this.

The same places in the same order: environment variables, `secrets.toml`, `config.toml`, and of
each file the project's (`.dlt`) before the machine's.
"""

import codecs
import os
import tomllib
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from kseflow.errors import ConfigurationError

SECTIONS, SOURCES = ("sources", "check"), ("ksef",)  # that we read


def section(name: str) -> dict[str, Any]:
    """Return the values of a section such as `check.warning`; its subsections are left out.

    Variables are texts, their names in lower case. Raises `ConfigurationError` when a file is no
    TOML, or where the section should be is a value.
    """
    found: dict[str, Any] = {}
    for path in configuration_files():
        table = _in_file(path, name)
        found |= {key: value for key, value in table.items() if not isinstance(value, dict)}
    prefix = f"{name.replace('.', '__').upper()}__"
    variables = {key.removeprefix(prefix): key for key in os.environ if key.startswith(prefix)}
    found |= {key.lower(): os.environ[full] for key, full in variables.items() if "__" not in key}
    return found


def subsections(name: str) -> set[str]:
    """Return the names of a section's own sections in the files. Raises as `section` does."""
    tables = (_in_file(path, name) for path in configuration_files())
    return {key for table in tables for key, value in table.items() if isinstance(value, dict)}


def unknown(what: str, name: str, allowed: Collection[str], kind: str) -> ConfigurationError:
    """Return the error for a name that nothing reads, with the nearest that something does."""
    close = get_close_matches(name, allowed, n=2)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    return ConfigurationError(f"{what}: there is no such {kind}; use {', '.join(allowed)}{meant}")


def configuration_files() -> Iterator[Path]:
    """Yield dlt's files, whether they are there or not; what is in later ones counts."""
    for file in ("config.toml", "secrets.toml"):
        for folder in (_machine_folder(), _project_folder()):
            yield folder / file


def _in_file(path: Path, name: str) -> dict[str, Any]:
    table = _read(path)
    for part in name.split("."):
        table = table.get(part, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"{name} is no table in {path}")
    return table


def _read(path: Path) -> dict[str, Any]:
    """Parse a file, none as an empty one."""
    return _parsed(path, text_of(path))


@lru_cache(maxsize=8)  # else each of 10,000 taxpayers would have all the others' sections parsed
def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    _refuse_misspelt(path, table)
    return table


def text_of(path: Path) -> str:
    """Return a file's text, none as empty; says of what an editor spoilt how to save it."""
    try:
        found = path.stat()
        return _text(path, found.st_mtime_ns, found.st_size, found.st_ino)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=8)
def _text(path: Path, *written: int) -> str:
    """Read a file once as long as it is as it was `written`."""
    try:
        content = path.read_bytes()
        if b"\0" in content:
            raise ConfigurationError(f"{path} cannot be read: it is UTF-16 text; save it as UTF-8")
        if content.startswith(codecs.BOM_UTF8):
            raise ConfigurationError(
                f"{path} cannot be read: it begins with a byte order mark (BOM); "
                "save it as UTF-8 without one"
            )
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} cannot be read: save it as UTF-8") from None


def _refuse_misspelt(path: Path, table: dict[str, Any]) -> None:
    """Raise `ConfigurationError` for a section that is nearly one of ours; dlt reads others."""
    sources = table.get("sources")
    inner = sources if isinstance(sources, dict) else {}
    for names, known, prefix in ((table, SECTIONS, ""), (inner, SOURCES, "sources.")):
        for name in names.keys() - set(known):
            for meant in get_close_matches(name, known, n=1, cutoff=0.8):
                raise ConfigurationError(
                    f"{path}: nothing reads [{prefix}{name}]; did you mean [{prefix}{meant}]?"
                )


def _project_folder() -> Path:
    folder = os.environ.get("DLT_CONFIG_FOLDER", ".dlt")
    return Path(os.environ.get("DLT_PROJECT_DIR", ".")) / folder


def _machine_folder() -> Path:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/dlt")
    home = Path.home() / ".dlt"
    if "XDG_DATA_HOME" in os.environ and not home.is_dir():
        return Path(os.environ["XDG_DATA_HOME"]) / "dlt"
    return home
