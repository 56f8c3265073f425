"""Tables on terminals of any width: text gives way first, numbers never."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.markup import escape
from typer.testing import CliRunner

from kseflow.cli import app
from kseflow.columns import print_table, table
from kseflow.console import PlainConsole
from kseflow.database import load_file
from tests.published import NIPS, change, copy_published

WIDTHS = [80, 100, 120, 160]
counts = st.integers(0, 10**12).map(lambda count: f"{count:,}")
amounts = st.one_of(counts, st.tuples(counts, counts).map(" of ".join), st.just("11-17 13:25"))
words = st.lists(st.text("abcdefghij_ąęźż:", min_size=1, max_size=40), min_size=1, max_size=9)
headers = st.lists(
    st.sampled_from(["failed", "sessions changed", "first-pass rate", "in process"]),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(20, 200))
def test_no_number_is_ever_cut(data: st.DataObject, width: int) -> None:
    names = data.draw(headers)
    rows = data.draw(
        st.lists(
            st.tuples(words, st.lists(amounts, min_size=len(names), max_size=len(names))),
            min_size=1,
            max_size=4,
        )
    )
    made = table("What there is", "who", *names)
    for name, numbers in rows:
        made.add_row(escape(" ".join(name)), *numbers)
    print_table(PlainConsole(file=(shown := io.StringIO()), width=width), made)
    told = shown.getvalue()
    assert "…" not in told
    for number in {number for _, numbers in rows for number in numbers}:
        at_least = sum(numbers.count(number) for _, numbers in rows)
        assert told.count(number) >= at_least
    for word in {word for name, _ in rows for word in name if len(word) <= 28}:
        assert word in told, "only words longer than any identifier are broken"


@pytest.mark.parametrize("width", WIDTHS)
def test_status_and_check_show_every_number_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    database = copy_published(tmp_path)
    sessions = "update ksef_raw.sessions set total_invoice_count = total_invoice_count + 1234567"
    change(load_file(database), sessions)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "dumb")
    shown = CliRunner().invoke(app, ["status"]).stdout
    told = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["taxpayers"]
    assert [state["context_id"] for state in told] == sorted(NIPS)
    for state in told:
        assert state["context_id"] in shown
        assert f"{state['stored_count']:,} of {state['invoice_count']:,}" in shown
        assert f"{state['session_count']:,}" in shown
    checked = CliRunner().invoke(app, ["check"]).stdout
    found = json.loads(CliRunner().invoke(app, ["check", "--json"]).stdout)["findings"]
    table_shown = checked[checked.index("Worst of each check") :]
    assert {finding["topic"] for finding in found} <= set(table_shown.split())
    assert "…" not in table_shown
    assert max(map(len, table_shown.splitlines())) <= width
