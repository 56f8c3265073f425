"""How well the rules recognise resubmissions, against what the emulated world itself knows."""

from collections import Counter
from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    from tests.sql.conftest import Built

Failure = tuple[str, str, str]  # taxpayer, session, submission

# An invoice that was rejected online without a number, put right and sent with other bytes leaves
# no trace at KSeF, unless it went as a technical correction.
SMALLEST_RECALL = 0.6
TOLD_APART = ("same file", "technical correction", "duplicate")


def test_every_resolution_is_right_and_most_resubmissions_are_recognised(
    built: "Built", marts: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    (at,) = marts.sql("select as_of from marts.as_of").fetchall()[0]
    truth: dict[Failure, set[str]] = {}
    kinds: dict[Failure, str] = {}
    for who in built.world.taxpayers:
        for sent_again in built.world.resubmissions(who.context_id, at):
            key = (who.context_id, sent_again.session_reference, sent_again.invoice_reference)
            truth.setdefault(key, set()).add(sent_again.ksef_number)
            kinds[key] = sent_again.kind
    found: dict[Failure, tuple[str, str]] = {}
    knowable: set[Failure] = set()
    for *named, number, rule, name, reason in marts.sql(
        "select context_id, session_reference_number, invoice_reference_number, "
        "resolved_ksef_number, resolution_rule, "
        "coalesce(invoice_number, invoice_file_name), reason from marts.failed_invoices"
    ).fetchall():
        failure = (named[0], named[1], named[2])
        if rule is not None:
            found[failure] = (number, rule)
        # A number of another seller says nothing of ours.
        is_ours = "(NIP: " not in reason or f"(NIP: {named[0]})" in reason
        if failure in truth and ((name and is_ours) or kinds[failure] in TOLD_APART):
            knowable.add(failure)
    right = Counter(rule for f, (number, rule) in found.items() if number in truth.get(f, ()))
    told = Counter(rule for _, rule in found.values())
    recognised = truth.keys() & found.keys()
    with capsys.disabled():
        print(f"\nresubmissions {len(truth)}, recognised {len(recognised)}", end="")
        print(f", of {len(knowable)} that KSeF's data let anybody recognise")
        for rule, count in told.most_common():
            print(f"  {rule}: precision {right[rule] / count:.1%} of {count}")
    wrong = {f: (r, truth.get(f)) for f, r in found.items() if r[0] not in truth.get(f, ())}
    assert wrong == {}
    assert set(told) >= {"technical_correction", "original_ksef_number", "invoice_hash"}
    assert set(told) >= {"file_name_is_number", "invoice_number"}
    assert knowable <= found.keys()
    assert len(recognised) / len(truth) >= SMALLEST_RECALL
