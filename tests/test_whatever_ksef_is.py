"""Whatever KSeF is: under random draws of all knobs the copy is whole, or says that it is not.

`KNOB_DRAWS=300` draws more than the six that CI has; `KNOB_FIRST=57 KNOB_DRAWS=1` one of them.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from tests.company import Company, Draw
from tests.conftest import TUESDAY
from tests.copies import rows_of

FIRST, COUNT = int(os.environ.get("KNOB_FIRST", "1")), int(os.environ.get("KNOB_DRAWS", "6"))
LOADS_H = (0, 1, 3, 5.5, 8, 26, 33, 60, 200)
OLD_H = 8  # what was sent by then is long over at the last load


def lived(folder: Path, draw: Draw, loads_h: Sequence[float] = LOADS_H) -> Company:
    """Load a company's copy now and then, usually for more than a week."""
    company = Company(folder, draw)
    for number, hours in enumerate(loads_h):
        due_at = TUESDAY + timedelta(hours=hours)
        company.clock.sleep((due_at - company.clock.now()).total_seconds())
        company.load(number)
    return company


def test_where_every_guess_is_right_the_copy_is_whole_and_nothing_else_is_said(
    tmp_path: Path,
) -> None:
    company = lived(tmp_path, Draw.only())
    assert not any(company.differences(TUESDAY + timedelta(hours=OLD_H)).values())
    assert company.findings() == {}
    assert set(company.outcomes) == {"ok"}


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_the_copy_is_whole_or_check_says_what_is_not_here(tmp_path: Path, seed: int) -> None:
    draw = Draw.of(seed)
    company = lived(tmp_path, draw)
    differences = company.differences(TUESDAY + timedelta(hours=OLD_H))
    print(draw, dict(company.outcomes), differences)
    if any(differences.values()):
        told = company.findings()
        print(told)
        silent = {nip: tables for nip, tables in differences.items() if tables and nip not in told}
        assert not silent, f"{draw}: {silent} is missing, and nothing says so"


# -- one by one: what each that is not harmless means -------------------------------------------


@pytest.mark.parametrize("way", ["403", "21173"])
def test_sessions_that_a_login_may_not_see_keep_no_other_from_being_read(
    tmp_path: Path, way: str
) -> None:
    draw = Draw.only(quirks={"hidden_session": way}, asked={"login": "writer later"})
    company = Company(tmp_path, draw)
    company.load(0, only=["sessions"])
    company.load(3)
    found = rows_of(company.database, "from ksef_raw.invoice_reads")
    hidden = {row["session_reference_number"] for row in found if row["error"]}
    assert len(hidden) > 5
    for who in company.world.taxpayers:
        read = company.copy(who.context_id, "session_invoices")
        for session in company.world.sessions(who.context_id, TUESDAY):
            name = session["referenceNumber"]
            if name not in hidden and session["status"]["code"] == 200:
                invoices = company.world.invoices(who.context_id, name, TUESDAY)
                assert {i["referenceNumber"] for i in invoices} <= read.keys()
    assert all(
        any("load_troubles" in line for line in company.findings()[who.context_id])
        for who in company.world.taxpayers
    )


@pytest.mark.parametrize("late_code", [170, 380])
def test_an_outcome_that_an_unknown_code_put_off_is_learnt_though_its_session_does_not_change(
    tmp_path: Path, late_code: int
) -> None:
    late = {"late_outcome_s": 36_000.0, "late_code": late_code, "late_updates": False}
    company = Company(tmp_path, Draw.only(oddities=late))
    company.load(0)
    (met,) = rows_of(
        company.database,
        f"select count(*) as count from ksef_raw.session_invoices where status_code = {late_code}",
    )
    assert met["count"] > 0
    for hours in (12, 24, 24):
        company.clock.sleep(hours * 3600)
        company.load(0)
    assert not any(company.differences(TUESDAY).values())


def test_a_limit_of_the_address_is_kept_to_by_all_taxpayers_together(tmp_path: Path) -> None:
    company = Company(tmp_path, Draw.only(asked={"limits": "global"}))
    company.load(0)
    assert set(company.outcomes) == {"ok"}
    assert company.clock.now() < TUESDAY + timedelta(minutes=5)
    assert sum(request.status == 429 for request in company.app.requests) < 5


def test_what_an_early_high_water_mark_passed_over_is_read_when_it_steps_back(
    tmp_path: Path,
) -> None:
    draw = Draw.only(exports={"hwm_steps_back_s": 6 * 3600.0})
    evening = TUESDAY.replace(hour=18)
    forgetful = lived(tmp_path, draw, (0, 4))
    passed_over = forgetful.differences(evening - timedelta(hours=2))
    assert any("invoice_metadata" in tables for tables in passed_over.values())
    whole = lived(tmp_path / "whole", draw, (0, 4, 5.5, 28))
    assert not any(whole.differences(evening).values())


def test_invoices_that_packages_have_passed_over_are_told(tmp_path: Path) -> None:
    company = lived(tmp_path, Draw.only(exports={"hwm_steps_back_s": 6 * 3600.0}), (0, 4, 27))
    told, missing = company.findings(), []
    for who in company.world.taxpayers:
        true = company.truths(who.context_id, TUESDAY + timedelta(hours=3))["invoice_metadata"]
        passed_over = true.keys() - company.copy(who.context_id, "invoice_metadata").keys()
        if any(name.startswith("Subject1") for name in passed_over):
            missing.append(who.context_id)
            assert any(line.startswith("missing_exports") for line in told[who.context_id])
    assert missing
