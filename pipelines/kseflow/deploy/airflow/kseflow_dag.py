"""An Airflow 3 DAG that loads, builds, checks and reports hourly; copy it into your DAGs folder.

kseflow is installed in an environment of its own, for its pins need not be Airflow's. The
Variables `kseflow` (its executable), `kseflow_folder` (with `.dlt`) and `kseflow_shards` say where
and how; more than one shard makes a task of each.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

KSEFLOW = "{{ var.value.get('kseflow', '/srv/ksef/.venv/bin/kseflow') }}"
FOLDER = "{{ var.value.get('kseflow_folder', '/srv/ksef') }}"
SHARDS = 1  # loads at once; see docs/operate.md

with DAG(
    dag_id="kseflow",
    description="What happened to the invoices sent to KSeF",
    schedule="7 * * * *",
    start_date=datetime(2026, 11, 1),  # noqa: DTZ001  # Airflow's own zone
    catchup=False,
    max_active_runs=1,  # a load that is late is not overtaken
    default_args={"retries": 1, "retry_delay": timedelta(minutes=15), "cwd": FOLDER},
) as dag:
    # Exit code 3: some taxpayers failed, the rest is loaded; kseflow check tells of them.
    some = " || [ $? -eq 3 ]"
    loads = [
        BashOperator(
            task_id=f"load_{number}",
            bash_command=f"{KSEFLOW} load --quiet"
            + (f" --shard {number}/{SHARDS}" if SHARDS > 1 else "")
            + some,
        )
        for number in range(1, SHARDS + 1)
    ]
    build = BashOperator(
        task_id="build", bash_command=f"{KSEFLOW} build --quiet{some}", trigger_rule="all_done"
    )
    report = BashOperator(task_id="report", bash_command=f"{KSEFLOW} report --out report.html")
    # 1 is a warning; critical and unknown fail the task, and its log says what to do.
    check = BashOperator(
        task_id="check", bash_command=f"{KSEFLOW} check || [ $? -eq 1 ]", retries=0
    )
    loads >> build >> [report, check]
