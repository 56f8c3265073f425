"""A PostgreSQL server of a test's own: in a folder, on a free port, not as root."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: int(f.parent.name))
# A company's server sorts texts by its language, and its clock is Warsaw's.
LOCALE = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=pl")
SETTINGS = ("timezone=Europe/Warsaw", "fsync=off", "listen_addresses=127.0.0.1")


PASSWORD = "tajne-haslo-4711"


class Server(NamedTuple):
    """Where a server listens. User and database are postgres."""

    port: int
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@{self.host}:{self.port}/postgres"


@contextmanager
def running_postgres() -> Iterator[Server]:
    """Start a server of Debian's in a folder of its own, and stop it in the end."""
    assert FOLDERS, "PostgreSQL's server is needed: apt-get install postgresql"
    with tempfile.TemporaryDirectory(prefix="kseflow-postgres") as folder:
        data, secret, port = Path(folder, "data"), Path(folder, "password"), _free_port()
        secret.write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (folder, secret):
                os.chown(path, *_owner())
        login = ("--username=postgres", "--auth=scram-sha-256", f"--pwfile={secret}")
        _run("initdb", "-D", data, "--no-sync", *login, *LOCALE)
        options = " ".join(f"-c {s}" for s in (*SETTINGS, f"unix_socket_directories={folder}"))
        _run("pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", f"-p {port} {options}", "start")
        try:
            yield Server(port)
        finally:
            _run("pg_ctl", "-D", data, "-m", "immediate", "stop")


def _run(program: str, *arguments: str | Path) -> None:
    user, group = _owner() if os.getuid() == 0 else (None, None)
    command = [FOLDERS[-1] / program, *arguments]
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, cwd="/", user=user, group=group,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
    )  # fmt: skip


def _owner() -> tuple[int, int]:
    """Return the user and group of Debian's package: the server refuses to be root's."""
    import pwd

    found = pwd.getpwnam("postgres")
    return found.pw_uid, found.pw_gid


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
