"""Files: nobody else's to read or lock, put in place at once, and what can be wrong with them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from threading import Lock

OTHERS = 0o077  # what the group and everybody else may do
GROUP = 0o070

PROBLEMS = {
    errno.ENOSPC: "the disk is full; make room and run it again, nothing is lost",
    errno.EDQUOT: "the disk quota is used up; make room and run it again, nothing is lost",
    errno.EFBIG: "the file may not grow any further (ulimit -f); nothing is lost",
    errno.EACCES: "permission denied; check the permissions of the file and of its folder",
    errno.EPERM: "permission denied; check the permissions of the file and of its folder",
    errno.EROFS: "it lies on a file system that is mounted read-only; name another place",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "a file stands where a folder should be; name a folder",
    errno.EEXIST: "a file stands where a folder should be; name a folder",
    errno.ENOENT: "there is no such file or folder",
    errno.ENAMETOOLONG: "the name is too long; name another",
}


class _Umask:
    """The process has one, so that the first to ask sets it and the last one puts it back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = os.umask(OTHERS)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                os.umask(self._before)


_umask = _Umask()


@contextmanager
def private_files() -> Iterator[None]:
    """Make what is made meanwhile its owner's alone, 600 and 700, whatever the umask is.

    The umask is the process's: it holds for what other threads make as well.
    """
    with _umask:
        yield


def make_private(*paths: Path) -> None:
    """Take from others what they may do with files or folders that an older version made.

    What does not exist or belongs to somebody else stays as it is.
    """
    for path in paths:
        with suppress(OSError):
            mode = S_IMODE(path.stat().st_mode)
            if mode & OTHERS:
                path.chmod(mode & ~OTHERS)


def open_to_others(path: Path) -> str:
    """Return the mode of what others than the owner may read or write, such as 644; else ''."""
    mode = S_IMODE(path.stat().st_mode)
    return f"{mode:o}" if mode & OTHERS else ""


def put_in_place(new: Path, target: Path) -> None:
    """Replace `target` by a finished file in one step, keeping the permissions it was given.

    So analysts whose group may read a published file can read the next one.
    """
    with suppress(FileNotFoundError):
        old = target.stat()
        mode = S_IMODE(old.st_mode)
        try:
            os.chown(new, -1, old.st_gid)
        except OSError:  # not a group of ours: then no other group gets its permissions
            mode &= ~GROUP
        new.chmod(mode)
    new.replace(target)


def file_problem(error: OSError) -> str:
    """Name the file and say what is wrong with it and what to do."""
    problem = PROBLEMS.get(error.errno or 0) or error.strerror or str(error)
    return f"{error.filename}: {problem}" if error.filename else problem
