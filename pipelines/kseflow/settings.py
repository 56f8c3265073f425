"""What dlt's configuration says, without dlt, whose import takes longer than what needs this.

The same places in the same order: environment variables, `secrets.toml`, `config.toml`, and of
each file the project's (`.dlt`) before the machine's.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

from kseflow.errors import ConfigurationError


def section(name: str) -> dict[str, Any]:
    """Return the values of a section such as `check.warning`; its subsections are left out.

    Variables are texts, their names in lower case. Raises `ConfigurationError` when a file is no
    TOML, or where the section should be is a value.
    """
    found: dict[str, Any] = {}
    for file in ("config.toml", "secrets.toml"):
        for folder in (_machine_folder(), _project_folder()):
            found |= _in_file(folder / file, name)
    prefix = f"{name.replace('.', '__').upper()}__"
    variables = {key.removeprefix(prefix): key for key in os.environ if key.startswith(prefix)}
    found |= {key.lower(): os.environ[full] for key, full in variables.items() if "__" not in key}
    return found


def _in_file(path: Path, name: str) -> dict[str, Any]:
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    for part in name.split("."):
        table = table.get(part, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"{name} is no table in {path}")
    return {key: value for key, value in table.items() if not isinstance(value, dict)}


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
