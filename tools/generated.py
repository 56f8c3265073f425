"""Every file that is written from declarations, wholly or in part."""

from pathlib import Path

from tools.documents import documents
from tools.staging import FOLDER, staging_files
from tools.watched import watched


def generated(root: Path) -> dict[str, str]:
    """Return the text that each generated file has to have, by its path below `root`."""
    return staging_files() | documents(root) | watched(root)


def left_over(root: Path) -> list[str]:
    """Return the files of the staging folder that no raw table stands for any more."""
    there = (str(file.relative_to(root)) for file in sorted((root / FOLDER).iterdir()))
    return [path for path in there if path not in staging_files()]
