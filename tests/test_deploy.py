"""What is copied into other systems: the image, its compose file, Airflow's DAG, a workflow.

No engine and no Airflow run here. The image's steps are run by `python -m tests.container`, and
the DAG is held to the signatures of the release that is named below.
"""

import ast
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

import kseflow.deploy
from kseflow.cli import app
from tests.container import instructions

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PACKAGED = Path(kseflow.deploy.__file__).parent
DOCKERFILE = instructions((DEPLOY / "Dockerfile").read_text())
# apache-airflow-providers-standard 1.21.0 and apache-airflow-task-sdk 1.3.2 (Airflow 3.3)
PARAMETERS = {
    "DAG": {
        "dag_id", "description", "schedule", "start_date", "catchup", "max_active_runs",
        "default_args", "tags", "dagrun_timeout",
    },
    "BashOperator": {
        "bash_command", "cwd", "env", "append_env", "skip_on_exit_code", "task_id", "retries",
        "retry_delay", "trigger_rule", "execution_timeout", "pool",
    },
}  # fmt: skip
MODULES = {"airflow.sdk": {"DAG"}, "airflow.providers.standard.operators.bash": {"BashOperator"}}


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", lock.read_text(), re.MULTILINE))


def commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each `kseflow …` in a shell's text."""
    for found in re.findall(r"\bkseflow ((?:load|build|report|check)\b[^|&;\n\"']*)", text):
        yield shlex.split(found)


def assert_understood(text: str, at_least: int) -> None:
    """Have the command line parse each call of it, without running it."""
    found = list(commands(text))
    assert len(found) >= at_least
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    for name, *arguments in found:
        group.commands[name].make_context(name, arguments)


def test_the_linter_finds_nothing_in_the_image_definition() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_of_the_lock_and_of_nothing_for_development() -> None:
    tested, image = pins(ROOT / "requirements.lock"), pins(DEPLOY / "requirements.lock")
    assert image.items() <= tested.items()
    assert image.keys().isdisjoint({"pytest", "mypy", "ruff", "dagster", "werkzeug", "hatchling"})
    assert {"dlt", "duckdb", "dbt-duckdb", "plotly"} <= image.keys()
    assert pins(DEPLOY / "build.lock").items() <= tested.items()
    installs = [rest for name, rest in DOCKERFILE if name == "RUN" and "pip install" in rest]
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installs)


def test_the_image_runs_as_nobody_special_and_is_checked() -> None:
    last = dict(DOCKERFILE)
    assert last["USER"] == "10001:10001"
    assert 'kseflow check || [ $? -eq 1 ]"]' in last["HEALTHCHECK"]
    assert_understood(" ".join(re.findall(r'"([^"]*)"', last["CMD"])), 1)
    copied = [rest.split()[:-1] for name, rest in DOCKERFILE if name == "COPY"]
    sources = {w for words in copied if "--from=build" not in words for w in words if w[0] != "-"}
    let_in = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert {source.removeprefix("./") for source in sources} == let_in
    assert all((ROOT / source).exists() for source in sources)


def test_compose_has_a_read_only_root_and_no_rights() -> None:
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["kseflow"]
    assert service["read_only"] is True
    assert service["user"] == dict(DOCKERFILE)["USER"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    targets = {mount.split(":")[1] for mount in service["volumes"]}
    assert targets == {"/data", "/data/.dlt"}


def test_every_hour_goes_on_after_a_failure_and_hands_on_the_end(tmp_path: Path) -> None:
    stub = tmp_path / "stub"
    stub.write_text(  # fails the first time, and then waits to be ended
        "#!/bin/sh\ntrap 'echo ended; exit 0' TERM\necho began\n"
        "[ -e again ] || { touch again; exit 3; }\nsleep 60 & wait\n"
    )
    stub.chmod(0o755)
    with subprocess.Popen(
        [DEPLOY / "every-hour", stub],
        cwd=tmp_path,
        env={"EVERY_SECONDS": "1", "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as loop:
        assert loop.stdout is not None
        told = [loop.stdout.readline() for _ in range(3)]
        loop.send_signal(signal.SIGTERM)
        told.append(loop.stdout.readline())
        assert loop.wait(60) == 0
    assert told == ["began\n", f"every-hour: {stub}: exit code 3\n", "began\n", "ended\n"]


def test_the_dag_calls_airflow_and_kseflow_as_they_are() -> None:
    text = (PACKAGED / "airflow" / "kseflow_dag.py").read_text()
    tree = ast.parse(text)
    imported = {
        node.module: {name.name for name in node.names}
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow")
    }
    assert imported == MODULES
    calls = [
        n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) in PARAMETERS
    ]
    assert [ast.unparse(call.func) for call in calls].count("BashOperator") == 4
    for call in calls:
        given = {keyword.arg for keyword in call.keywords}
        assert given <= PARAMETERS[ast.unparse(call.func)]
        assert not call.args
    schedule = next(k.value for c in calls for k in c.keywords if k.arg == "schedule")
    assert ast.literal_eval(schedule) == "7 * * * *"
    spelt = [k.value for c in calls for k in c.keywords if k.arg == "bash_command"]
    shell = "\n".join(ast.unparse(each).replace("{KSEFLOW}", "kseflow") for each in spelt)
    assert_understood(shell.replace("{some}", ""), 4)


@pytest.mark.parametrize("shards", [1, 3])
def test_the_dag_shares_out_the_taxpayers_and_builds_after_all(shards: int) -> None:
    """Run the file with stand-ins for Airflow's two names, which take down what they are given."""
    text = (PACKAGED / "airflow" / "kseflow_dag.py").read_text()
    text = text.replace("SHARDS = 1 ", f"SHARDS = {shards} ")
    made: dict[str, Any] = {}
    body = [n for n in ast.parse(text).body if "airflow" not in ast.unparse(n).partition("\n")[0]]

    class Task:
        def __init__(self, **given: Any) -> None:
            made[given["task_id"]] = given

        def __rshift__(self, other: object) -> object:
            return other

        def __rrshift__(self, other: object) -> "Task":
            return self

    class Dag:
        def __init__(self, **given: Any) -> None:
            made["dag"] = given

        def __enter__(self) -> "Dag":
            return self

        def __exit__(self, *_: object) -> None: ...

    exec(compile(ast.Module(body, []), "dag", "exec"), {"DAG": Dag, "BashOperator": Task})
    loads = [given["bash_command"] for name, given in made.items() if name.startswith("load_")]
    asked = [re.search(r"--shard (\S+)", load) for load in loads]
    shares = [a[1] if a else "" for a in asked]
    assert shares == ([""] if shards == 1 else ["1/3", "2/3", "3/3"])
    assert made["dag"]["max_active_runs"] == 1


def test_the_workflow_is_one_and_calls_kseflow_as_it_is() -> None:
    text = (PACKAGED / "github" / "kseflow.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow[True]["schedule"] == [{"cron": "7 * * * *"}]  # `on` is a word for true in YAML
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"]["load"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    assert_understood("\n".join(step.get("run", "") for step in steps), 3)
    secret = [step for step in steps if "secrets." in str(step)]
    assert [step["run"].split()[1] for step in secret] == ["load"]  # nobody else has the token
