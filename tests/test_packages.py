"""Export packages as an incremental load: nothing skipped, nothing twice, nothing unverified."""

import hashlib
import json
import logging
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from ksef_emulator import Backlog, ExportSettings, Fault
from ksef_emulator.api.exports.settings import Outcome, Tampering
from ksef_emulator.faults import Kind
from kseflow.api.client import make_clients
from kseflow.context import Context
from kseflow.errors import CorruptDownload
from kseflow.loading.exports.package import contents, request
from kseflow.loading.exports.windows import Window
from kseflow.loading.summary import LoadSummary
from kseflow.options import SubjectType
from tests.conftest import Stage
from tests.simulation import asking

SUBJECT_TYPES: tuple[SubjectType, ...] = ("Subject1", "Subject2", "Subject3", "SubjectAuthorized")


@pytest.fixture
def exporting(stage: Callable[..., Stage]) -> Callable[..., Stage]:
    """Make a small stage that exports from the beginning of its world."""

    def make(
        cap: int = 10_000,
        per_hour: int = 1000,
        settings: dict[str, Any] | None = None,
        **shape: Any,
    ) -> Stage:
        shape = {"days": 2, "sessions_per_day": 8, "largest_session": 40} | shape
        exports = ExportSettings(cap=cap, **(settings or {}))
        return stage(exports=exports, exports_per_hour=per_hour, **shape)

    return make


def export(made: Stage, **options: Any) -> LoadSummary:
    """Load packages alone, the first time from the beginning of the world."""
    if not made.database.exists():
        options.setdefault("exports_from", made.world.since)
    return made.load(only=["export_packages", "invoice_metadata"], **options)


def packages(made: Stage, where: str = "true") -> list[dict[str, Any]]:
    return made.rows(f"from ksef_raw.export_packages where {where} order by requested_at")


def parts(summary: LoadSummary, outcome: str | None = None) -> list[dict[str, Any]]:
    exported = [p for p in summary.logs if p["resource"].startswith("exports")]
    return [p for p in exported if outcome in (None, p["outcome"])]


def stored_numbers(made: Stage, context: Context, subject_type: SubjectType) -> list[str]:
    rows = made.rows(
        "select ksef_number from ksef_raw.invoice_metadata where context_id = "
        f"'{context.id}' and subject_type = '{subject_type}'"
    )
    return sorted(row["ksef_number"] for row in rows)


def true_numbers(made: Stage, context: Context, subject_type: SubjectType) -> list[str]:
    """Return what KSeF vouches for up to the last high-water mark."""
    hwm = packages(made, f"subject_type = '{subject_type}' and context_id = '{context.id}'")[-1]
    exported = made.world.exported(
        context.id, subject_type, hwm["permanent_storage_hwm_date"] or made.world.since
    )
    return sorted(row["ksefNumber"] for row in exported)


def windows(made: Stage) -> list[dict[str, Any]]:
    """Return (next_from, following requested_from) of all neighbours."""
    return made.rows(
        "select next_from_text, lead(requested_from_text) over (partition by context_id, "
        "subject_type order by requested_at) as following from ksef_raw.export_packages "
        "qualify following is not null"
    )


@pytest.mark.parametrize("cap", [7, 10_000])
@pytest.mark.parametrize("seed", [1, 2])
def test_package_after_package_gives_every_invoice_once_up_to_the_high_water_mark(
    exporting: Callable[..., Stage], cap: int, seed: int
) -> None:
    made = exporting(cap=cap, seed=seed, world_options={"bulk_storage_s": 0.02})
    for hours in (0, 3, 0.3, 15):
        made.clock.sleep(hours * 3600)
        export(made)
        for context in made.contexts:
            for subject_type in SUBJECT_TYPES[:2]:
                found = stored_numbers(made, context, subject_type)
                assert found == true_numbers(made, context, subject_type)
                assert found
    assert all(row["next_from_text"] == row["following"] for row in windows(made))
    assert made.value("select count(*) from ksef_raw.export_packages where is_truncated") > 0 or (
        cap == 10_000
    )


def test_a_row_of_metadata_says_what_ksef_said(exporting: Callable[..., Stage]) -> None:
    made = exporting(taxpayers=2)
    export(made)
    truth = {
        (context.id, subject_type, row["ksefNumber"]): row
        for context in made.contexts
        for subject_type in SUBJECT_TYPES
        for row in made.world.exported(context.id, subject_type, made.clock.now())
    }
    stored = made.rows("from ksef_raw.invoice_metadata")
    assert len(stored) > 50
    for row in stored:
        item = truth[row["context_id"], row["subject_type"], row["ksef_number"]]
        assert row["gross_amount"] == Decimal(str(item["grossAmount"]))
        assert row["vat_amount"] == Decimal(str(item["vatAmount"]))
        assert row["issue_date"].isoformat() == item["issueDate"]
        assert row["permanent_storage_date"] == datetime.fromisoformat(item["permanentStorageDate"])
        assert row["buyer_identifier"] == item["buyer"]["identifier"].get("value")
        assert (row["seller_nip"], row["form_system_code"], row["unrecognised"]) == (
            item["seller"]["nip"],
            item["formCode"]["systemCode"],
            None,
        )
        assert json.loads(row["third_subjects"] or "null") == item.get("thirdSubjects")


def test_a_package_row_holds_the_truncation_fields_and_no_signed_link(
    exporting: Callable[..., Stage],
) -> None:
    made = exporting(cap=5, taxpayers=1, settings={"part_bytes": 700})
    export(made)
    truncated = packages(made, "is_truncated")[0]
    assert truncated["invoice_count"] == truncated["metadata_count"] == 5
    assert truncated["next_from"] == truncated["last_permanent_storage_date"]
    assert truncated["is_effectively_truncated"]
    assert truncated["cursor_moved"]
    assert truncated["package_expiration_date"] == truncated["completed_date"] + timedelta(days=7)
    listed = json.loads(truncated["parts"])
    assert len(listed) == truncated["part_count"] > 1
    assert sum(part["partSize"] for part in listed) == truncated["size_bytes"]
    assert "url" not in listed[0]
    last = packages(made)[-1]
    assert last["next_from_text"] == last["permanent_storage_hwm_date_text"]
    assert not made.rows("from ksef_raw.export_packages where unrecognised is not null")


def test_the_first_load_walks_through_history_in_windows_that_ksef_accepts(
    exporting: Callable[..., Stage],
) -> None:
    made = exporting(taxpayers=1)
    made.load(only=["export_packages"])
    first = packages(made, "subject_type = 'Subject1'")
    spans = [row["requested_to"] - row["requested_from"] for row in first[:-1]]
    assert spans == [timedelta(days=99)] * len(spans)
    assert first[0]["requested_from"] == datetime(2026, 2, 1, tzinfo=UTC)
    assert first[-1]["requested_to"] is None
    assert len(first) == 3
    assert all(row["next_from_text"] == row["following"] for row in windows(made))


def asked(made: Stage) -> dict[str, int]:
    """Count the exports asked for since the last time, by subject type."""
    counts: dict[str, int] = dict.fromkeys(SUBJECT_TYPES, 0)
    for sent in made.app.requests:
        if sent.method == "POST" and sent.route.endswith("/exports"):
            counts[json.loads(sent.body)["filters"]["subjectType"]] += 1
    return counts


def test_a_schedule_asks_for_a_package_each_quarter_of_an_hour_and_rare_ones_once_a_day(
    exporting: Callable[..., Stage],
) -> None:
    made = exporting(taxpayers=1, per_hour=4)
    export(made)
    assert asked(made) == dict.fromkeys(SUBJECT_TYPES, 1)
    made.clock.sleep(5 * 60)
    export(made)
    assert asked(made) == dict.fromkeys(SUBJECT_TYPES, 0)
    made.clock.sleep(11 * 60)
    export(made)
    assert asked(made) == {"Subject1": 1, "Subject2": 1, "Subject3": 0, "SubjectAuthorized": 0}
    made.clock.sleep(23 * 3600)
    export(made)
    assert asked(made) == dict.fromkeys(SUBJECT_TYPES, 1)


def test_catching_up_never_asks_for_more_an_hour_than_configured(
    exporting: Callable[..., Stage],
) -> None:
    made = exporting(cap=5, taxpayers=1, per_hour=3)
    for expected in (3, 0):
        export(made, subject_types=("Subject1",))
        assert asked(made)["Subject1"] == expected
    made.clock.sleep(3600)
    export(made, subject_types=("Subject1",))
    assert asked(made)["Subject1"] == 3
    assert all(row["next_from_text"] == row["following"] for row in windows(made))


def test_under_production_limits_four_subject_types_share_twenty_exports_without_a_429(
    exporting: Callable[..., Stage],
) -> None:
    made = exporting(cap=6, taxpayers=1, limits="production", world_options={"bulk_storage_s": 0})
    summary = export(made)
    assert not parts(summary, "failed")
    assert 429 not in {request.status for request in made.app.requests}
    assert summary.request_counts["invoiceExport"] > 20
    for subject_type in SUBJECT_TYPES[:2]:
        (context,) = made.contexts
        assert stored_numbers(made, context, subject_type) == true_numbers(
            made, context, subject_type
        )


@pytest.mark.parametrize("code", [100, 210, 500, 550])
def test_an_export_that_hangs_fails_or_expires_is_asked_for_anew(
    exporting: Callable[..., Stage], code: Outcome
) -> None:
    made = exporting(taxpayers=1, settings={"outcomes": {1: code}})
    summary = export(made, subject_types=("Subject1",))
    assert [p["outcome"] for p in parts(summary)] == ["ok"]
    lost, taken = packages(made)
    assert (lost["status_code"], taken["status_code"]) == (code, 200)
    assert lost["reference_number"] in lost["error"]
    assert taken["error"] is None
    assert lost["next_from_text"] == lost["requested_from_text"] == taken["requested_from_text"]


def test_exports_that_never_come_are_told_and_stop_no_other_subject_type(
    exporting: Callable[..., Stage],
) -> None:
    made = exporting(taxpayers=1, settings={"outcomes": {1: 550, 3: 550}})
    summary = export(made, subject_types=("Subject1", "Subject2"))
    (failed,) = parts(summary, "failed")
    assert "550" in failed["message"]
    assert "Spróbuj ponownie" in failed["message"]
    (context,) = made.contexts
    assert stored_numbers(made, context, "Subject2") == true_numbers(made, context, "Subject2")
    assert stored_numbers(made, context, "Subject1") == []
    made.exports = ExportSettings()
    export(made, subject_types=("Subject1",), exports_from=made.world.since)
    assert stored_numbers(made, context, "Subject1") == true_numbers(made, context, "Subject1")


@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        ("part-hash", "Hash"),
        ("part-size", "Size"),
        ("metadata-cut", "_metadata.json is missing, cut"),
        ("metadata-missing", "_metadata.json is missing, cut"),
        ("invoice-count", "counts"),
        ("missing-invoice", "only in its metadata or only among"),
        ("altered-invoice", "does not have the hash"),
        ("parent-path", "no plain file name"),
        ("absolute-path", "no plain file name"),
        ("symlink", "no plain file"),
        ("zip-bomb", "larger than"),
        ("not-an-archive", "cannot be unpacked"),
        ("foreign-host", "no host of KSeF's"),
    ],
)
def test_a_package_that_is_not_as_promised_is_named_and_nothing_of_it_is_kept(
    exporting: Callable[..., Stage], tmp_path: Path, tampering: Tampering, told: str
) -> None:
    compression = "TarGz" if tampering in ("symlink", "absolute-path") else "Zip"
    made = exporting(taxpayers=1, settings={"tampering": {1: tampering}})
    folder = tmp_path / "xml"
    options = {"subject_types": ("Subject1",), "xml_folder": folder, "compression": compression}
    summary = export(made, **options)
    (failed,) = parts(summary, "failed")
    (package,) = packages(made)
    assert f"package {package['reference_number']}" in failed["message"]
    assert told in failed["message"]
    assert package["error"] in failed["message"]
    assert package["next_from_text"] == package["requested_from_text"]
    assert not package["cursor_moved"]
    assert made.value("select count(*) from ksef_raw.invoice_metadata") == 0
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".xml"]
    assert not list(folder.glob(".kseflow-*"))
    made.exports = ExportSettings()
    export(made, **options, exports_from=made.world.since)  # the next load finds it whole
    (context,) = made.contexts
    assert stored_numbers(made, context, "Subject1") == true_numbers(made, context, "Subject1")


@pytest.mark.parametrize("fault", ["altered", "cut", "500", "dropped"])
def test_a_download_that_goes_wrong_is_repeated_with_fresh_links(
    exporting: Callable[..., Stage], fault: Kind
) -> None:
    made = exporting(taxpayers=1, faults=[Fault(fault, path="/storage/", nth=1)])
    summary = export(made, subject_types=("Subject1",))
    assert [p["outcome"] for p in parts(summary)] == ["ok"]
    (context,) = made.contexts
    assert stored_numbers(made, context, "Subject1") == true_numbers(made, context, "Subject1")


def test_what_ksef_adds_to_metadata_or_packages_is_kept_or_passed_over(
    exporting: Callable[..., Stage],
) -> None:
    made = exporting(taxpayers=1, settings={"tampering": {1: "unknown-field", 2: "unknown-member"}})
    summary = export(made, subject_types=("Subject1", "Subject2"))
    assert not parts(summary, "failed")
    assert made.value(
        "select count(*) from ksef_raw.invoice_metadata where unrecognised is not null"
    )


@pytest.mark.parametrize("compression", ["Zip", "TarGz"])
def test_with_xml_each_invoice_is_one_file_with_the_hash_ksef_knows(
    exporting: Callable[..., Stage], tmp_path: Path, compression: str
) -> None:
    made = exporting(cap=10, taxpayers=2, settings={"part_bytes": 2_000})
    folder = tmp_path / "xml"
    export(made, xml_folder=folder, compression=compression)
    hashes = {
        row["ksef_number"]: row["invoice_hash"]
        for row in made.rows("from ksef_raw.invoice_metadata")
    }
    files = {path.stem: path for path in folder.rglob("*.xml")}
    assert files.keys() == hashes.keys()
    for number, path in files.items():
        assert path.parent == folder / f"{number[11:15]}-{number[15:17]}"
        digest = hashlib.sha256(path.read_bytes()).digest()
        assert b64encode(digest).decode() == hashes[number]
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".xml"}


def test_more_invoices_on_one_instant_than_a_package_holds_are_told_and_not_looped_on(
    exporting: Callable[..., Stage],
) -> None:
    made = exporting(
        cap=5,
        taxpayers=1,
        largest_session=60,
        sessions_per_day=30,
        world_options={"bulk_storage_s": 3600},
    )
    summary = export(made, subject_types=("Subject1",))
    (failed,) = parts(summary, "failed")
    assert "stored at one instant" in failed["message"]
    assert "--exports-from" in failed["message"]
    stuck = packages(made)[-1]
    assert (stuck["cursor_moved"], stuck["is_effectively_truncated"]) == (False, True)
    assert "one instant" in stuck["error"]
    again = export(made, subject_types=("Subject1",))
    assert asked(made)["Subject1"] == 1
    assert parts(again, "failed")
    beyond = stuck["requested_from"] + timedelta(microseconds=1)
    export(made, subject_types=("Subject1",), exports_from=beyond)
    assert packages(made)[-1]["requested_from"] > stuck["requested_from"]


def test_a_full_package_that_ksef_does_not_call_truncated_is_followed_by_the_rest(
    exporting: Callable[..., Stage],
) -> None:
    """KSeF before 2.6.1 gave 10,001 rows of metadata and isTruncated false."""
    made = exporting(
        taxpayers=1,
        settings={"metadata_overrun": True},
        world_options={"backlog": Backlog("Batch", 2, 6_000, 0.0, 1.0)},
    )
    export(made, subject_types=("Subject1",))
    full, rest = packages(made)
    assert full["metadata_count"] == 10_001
    assert (full["is_truncated"], full["is_effectively_truncated"]) == (False, True)
    assert full["next_from"] < full["permanent_storage_hwm_date"]
    assert not rest["is_effectively_truncated"]
    assert made.value("select count(*) from ksef_raw.invoice_metadata") == 12_000


@pytest.mark.parametrize("fault", ["500", "dropped"])
def test_a_request_for_an_export_is_never_sent_twice_when_its_answer_is_lost(
    exporting: Callable[..., Stage], fault: Kind
) -> None:
    made = exporting(taxpayers=1, faults=[Fault(fault, path="/invoices/exports$", nth=1)])
    summary = export(made, subject_types=("Subject1",))
    (failed,) = parts(summary, "failed")
    assert "not sent again" in failed["message"]
    assert asked(made)["Subject1"] == 1
    made.faults = []
    export(made, subject_types=("Subject1",), exports_from=made.world.since)
    (context,) = made.contexts
    assert stored_numbers(made, context, "Subject1") == true_numbers(made, context, "Subject1")


def test_a_public_key_withdrawn_meanwhile_is_fetched_again(exporting: Callable[..., Stage]) -> None:
    made = exporting(taxpayers=1)
    rotated: list[bool] = []

    class Rotating(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST" and request.url.path.endswith("/exports") and not rotated:
                rotated.append(True)
                made.app.rotate_keys()
            return await super().handle_async_request(request)

    box = made.box()
    with made.served() as base_url:
        clients = make_clients(base_url, made.logins(), box, transport=Rotating())
        summary = made.load_with(
            clients,
            box,
            only=["export_packages", "invoice_metadata"],
            subject_types=("Subject1",),
            exports_from=made.world.since,
        )
    assert rotated
    assert [p["outcome"] for p in parts(summary)] == ["ok"]


def test_when_all_ten_places_are_taken_it_is_told_why(exporting: Callable[..., Stage]) -> None:
    made = exporting(taxpayers=1, settings={"slots": 0})
    (failed,) = parts(export(made, subject_types=("Subject1",)), "failed")
    assert "21182" in failed["message"]
    assert "ten exports are running" in failed["message"]


def test_a_package_that_is_described_late_is_waited_for(exporting: Callable[..., Stage]) -> None:
    made = exporting(
        taxpayers=1, settings={"late_package_polls": 2, "shows_compression_type": False}
    )
    summary = export(made, subject_types=("Subject1",))
    assert [p["outcome"] for p in parts(summary)] == ["ok"]
    assert packages(made)[0]["metadata_count"] > 0


def test_a_login_without_invoiceread_loads_all_but_packages_and_says_so(
    exporting: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    made = exporting()
    made.tokens[made.contexts[0]] = made.world.taxpayers[0].write_only_token
    with caplog.at_level(logging.WARNING):
        summary = made.load(exports_from=made.world.since)
    assert "InvoiceRead" in caplog.text
    refused = [p for p in parts(summary, "warning") if p["taxpayer"] == made.contexts[0]]
    assert len(refused) == len(SUBJECT_TYPES)
    assert summary.failed_taxpayers == []
    assert stored_numbers(made, made.contexts[1], "Subject1")
    assert made.value("select count(*) from ksef_raw.sessions") > 0


def test_no_key_and_no_signed_link_reaches_the_warehouse_or_a_log(
    exporting: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    made = exporting(cap=10, settings={"tampering": {2: "part-hash", 4: "foreign-host"}})
    with caplog.at_level(logging.DEBUG):
        export(made)
    assert len(caplog.records) > 10
    links = [r for r in made.app.requests if r.group == "storage"]
    assert links
    assert "Authorization" not in {name for link in links for name in link.headers}
    signatures = {part[4:] for r in links for part in r.query.split("&") if part.startswith("sig=")}
    content = caplog.text + json.dumps(
        made.rows("from ksef_raw.export_packages") + made.rows("from ksef_raw.sync_log"),
        default=str,
    )
    for secret in signatures:
        assert secret not in content
    assert "sig=" not in content
    assert made.tokens[made.contexts[0]] not in content


def test_a_package_opened_with_a_wrong_key_is_refused(exporting: Callable[..., Stage]) -> None:
    made = exporting(taxpayers=1)
    with ExitStack() as stack:
        base_url = stack.enter_context(made.served())
        (ksef,) = make_clients(base_url, made.logins(), made.box())
        client = stack.enter_context(asking(ksef))
        window = Window("Subject1", made.world.since.isoformat(), None)
        asked_for = request(ksef, window, is_metadata_only=True, compression="Zip")
        export = client.wait(asked_for)
        made.clock.sleep(600)
        package = client.export_status(export.reference_number)["package"]
        other = replace(export, key=bytes(32))

        async def opened() -> None:
            async with contents(ksef, other, package, None):
                pass

        with pytest.raises(CorruptDownload, match=r"cannot be decrypted|its partHash|partSize"):
            client.wait(opened())


def test_a_status_that_is_not_as_agreed_is_told(exporting: Callable[..., Stage]) -> None:
    faults = [Fault("missing-field", path="/exports/", field="status", times=9)]
    made = exporting(taxpayers=1, faults=faults)
    (failed,) = parts(export(made, subject_types=("Subject1",)), "failed")
    assert "its status lacks the code" in failed["message"]
    assert packages(made)[0]["error"] in failed["message"]
