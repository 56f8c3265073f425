"""Run the steps of deploy/Dockerfile in roots of their own, where there is no container engine.

`python -m tests.container [FOLDER]` needs root, debootstrap and unshare. The base image is what
debootstrap makes; FROM, RUN, COPY, ENV, WORKDIR and USER are done as the file says. Then
`kseflow load --build` and the health check run in the result as its user, read-only but for /data
and /tmp, against an emulated KSeF.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from ksef_emulator import Emulator, RunningClock, World, serve

ROOT = Path(__file__).parents[1]
PASSED_ON = re.compile(r"(?i)(http|https|no)_proxy|PIP_(?!CONFIG).*")
MOUNTS = 'mount --bind "$1" "$1" && mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc"'
READ_ONLY = (
    'mount -t tmpfs tmpfs "$1/tmp" && mount --bind "$1/data" "$1/data" '
    '&& mount -o remount,ro,bind "$1"'
)


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions and their arguments, lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile).replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines() if line.strip())
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


class Stage:
    """One stage of the build: its root, and what its instructions set."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.user = root, "/", "0:0"
        self.environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def run(self, command: str, *, prepare: str = MOUNTS, **more: str) -> None:
        """Run a command in the root, in mounts of its own. Raises when it fails."""
        script = f'{prepare} && exec /usr/sbin/chroot --userspec="$2" "$1" /bin/sh -c "$3"'
        inside = f"cd {shlex.quote(self.folder)} && {command}"
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(self.root), self.user, inside],
            env=self.environment | more,
            check=True,
        )

    def copy(self, arguments: str, stages: dict[str, "Stage"]) -> None:
        """Do what COPY does, from the project or another stage."""
        words = arguments.split()
        flags = dict(w.removeprefix("--").split("=") for w in words if w.startswith("--"))
        *sources, target = [word for word in words if not word.startswith("--")]
        origin = stages[flags["from"]].root if "from" in flags else ROOT
        for source in sources:
            found = origin / source.lstrip("/")
            place = self.root / os.path.join(self.folder, target).lstrip("/")
            if found.is_dir():
                shutil.copytree(found, place, symlinks=True, dirs_exist_ok=True)
                continue
            if target.endswith("/"):
                place /= found.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, place)
            if "chmod" in flags:
                place.chmod(int(flags["chmod"], 8))


def registry() -> dict[str, str]:
    """Return the variables by which pip reaches the registry from here."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(?m)^global\.([\w-]+)='(.*)'$", told)
    variables = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in found}
    variables |= {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    return variables


def built(work: Path) -> tuple[Stage, str]:
    """Build every stage under `work`; return the last one and the health check's command."""
    base = work / "base"
    if not base.exists():
        new = work / "base.new"
        shutil.rmtree(new, ignore_errors=True)
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(new)], check=True)
        new.rename(base)
    stages: dict[str, Stage] = {}
    stage, health = Stage(base), ""
    passed_on = registry()
    for name, rest in instructions((ROOT / "deploy" / "Dockerfile").read_text()):
        print(f"{name} {rest}", flush=True)
        if name == "FROM":
            label = rest.rpartition(" AS ")[2] if " AS " in rest else "last"
            root = work / label
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(["cp", "-a", str(base), str(root)], check=True)
            shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
            if "PIP_CERT" in os.environ:  # elsewhere, for the image has certificates of its own
                shutil.copy(os.environ["PIP_CERT"], root / "etc" / "registry.crt")
                passed_on["PIP_CERT"] = "/etc/registry.crt"
            stage = stages[label] = Stage(root)
        elif name == "RUN":
            stage.run(rest, **passed_on)
        elif name == "COPY":
            stage.copy(rest, stages)
        elif name == "ENV":
            stage.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif name == "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            stage.user = rest
        elif name == "HEALTHCHECK":
            health = shlex.join(json.loads(rest.partition("CMD ")[2]))
    return stage, health


def main(work: Path) -> None:
    """Build, load and check; raises when any of it fails."""
    stage, health = built(work)
    world = World(seed=7, taxpayers=1, since=datetime.now(UTC) - timedelta(days=2))
    (who,) = world.taxpayers
    with serve(Emulator(world, RunningClock(), "off")) as base_url:
        login = {
            "SOURCES__KSEF__ENVIRONMENT": base_url,
            "SOURCES__KSEF__NIP": who.context_id,
            "SOURCES__KSEF__TOKEN": who.token,
        }
        kept = f"{MOUNTS} && {READ_ONLY}"
        stage.run("! touch /opt/kseflow/x && touch /data/x && rm /data/x", prepare=kept)
        stage.run("kseflow load --build", prepare=kept, **login)
        # The emulated company has failures that somebody must act on: those would be critical.
        calm = ("FAILURE_RATE", "UNRESOLVED_FAILURES", "FAILED_SESSIONS")
        limits = {f"CHECK__CRITICAL__{name}": "inf" for name in calm}
        stage.run(health, prepare=kept, **limits, CHECK__CRITICAL__FIRST_PASS_RATE="-inf")
        print("built, loaded and healthy")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with TemporaryDirectory(dir="/var/tmp") as folder:
            main(Path(folder))
