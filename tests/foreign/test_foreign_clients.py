"""Clients of KSeF that nobody here wrote read from the emulator what its world holds.

Each runs in an environment of its own, which the Makefile installs, against a real socket.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from ksef_emulator import ExportSettings
from ksef_emulator.api.limits import PRODUCTION
from tests.conftest import Stage

HERE = Path(__file__).parent
CLIENTS = {"ksef-client": "ksef_client_reads.py", "ksef2": "ksef2_reads.py"}
OPEN = (100, 150, 170)
SIGNED = {"upoDownloadUrl", "upoDownloadUrlExpirationDate"}  # anew with each answer
STATUSES: dict[str, Callable[[int], bool]] = {
    "InProgress": lambda code: code in OPEN,
    "Succeeded": lambda code: code == 200,
    "Cancelled": lambda code: code == 440,
    "Failed": lambda code: code not in (*OPEN, 200, 440),
}

LIMITS = {
    group: {"perSecond": 1_000, "perMinute": 10_000, "perHour": 100_000 + number}
    for number, group in enumerate(PRODUCTION)
}

Row = dict[str, Any]


@dataclass
class Reading:
    """What a client read, of a world it was asked about."""

    made: Stage
    asked: Row
    read: Row

    @property
    def nip(self) -> str:
        return self.made.contexts[0].id

    def sessions(self) -> list[Row]:
        """Return the world's Online sessions as the API lists them."""
        rows = self.made.world.sessions(self.nip, self.made.at)
        kept = [row for row in rows if row["sessionType"] == "Online"]
        return [{n: v for n, v in row.items() if n != "sessionType"} for row in kept]


@pytest.fixture(scope="module", params=CLIENTS)
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    folder = tmp_path_factory.mktemp("foreign")
    # These clients look at the machine's clock: the world is of today.
    made = Stage(
        folder / "ksef.duckdb",
        at=datetime.now(UTC).replace(microsecond=0),
        taxpayers=1,
        days=14,
        sessions_per_day=12,
        counted_failures="never",
        limits=LIMITS,
        exports=ExportSettings(duration_s=0),
    )
    with made.served() as base_url:
        asked = questions(made, folder, base_url.removesuffix("/v2"))
        return Reading(made, asked, answers(request.param, asked))


def questions(made: Stage, folder: Path, address: str) -> Row:
    nip = made.contexts[0].id
    session, invoice = some_session(made)
    files = made.app.certificate_files(folder)[nip]
    middle = made.at - timedelta(days=7)
    since, until = (moment.isoformat() for moment in (made.world.since, made.at))
    return {
        "address": address,
        "nip": nip,
        "token": made.tokens[made.contexts[0]],
        "certificates": [
            {"certificate": str(f.certificate), "key": str(f.key), "password": f.password}
            for f in files
            if f.kind != "pkcs12"
        ],
        "filters": [
            {"session_type": "Online"} | filters
            for filters in (
                {},
                {"reference_number": session["referenceNumber"]},
                {"date_created_from": middle.isoformat()},
                {"date_created_to": middle.isoformat()},
                {"date_modified_from": middle.isoformat()},
                {"date_modified_to": middle.isoformat()},
                {"date_closed_from": since, "date_closed_to": until},
                {"date_closed_to": since},
                *({"statuses": [status]} for status in STATUSES),
                {"statuses": ["Cancelled", "Failed"], "date_created_from": middle.isoformat()},
            )
        ],
        "session": session["referenceNumber"],
        "invoice": invoice,
        "since": since,
        "until": until,
    }


def some_session(made: Stage) -> tuple[Row, Row]:
    """Return an ended session with most of both outcomes, and an accepted invoice of it."""
    nip = made.contexts[0].id
    ended = [row for row in made.world.sessions(nip, made.at) if row["status"]["code"] == 200]
    session = max(ended, key=lambda r: min(r["successfulInvoiceCount"], r["failedInvoiceCount"]))
    rows = made.world.invoices(nip, session["referenceNumber"], made.at)
    return session, next(row for row in rows if row.get("ksefNumber"))


def answers(client: str, asked: Row) -> Row:
    """Run a client's script in its environment."""
    python = Path(sys.prefix) / client / "bin" / "python"
    assert python.exists(), f"make {python.parents[1]} installs the client that this runs"
    done = subprocess.run(
        [python, "-I", HERE / CLIENTS[client]],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    read: Row = json.loads(done.stdout)
    return read


def plain(value: Any) -> Any:
    """Return a value without what is signed anew or null, its moments in microseconds of UTC."""
    if isinstance(value, dict):
        told = {n: v for n, v in value.items() if n not in SIGNED and v is not None}
        return {name: plain(part) for name, part in told.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, str) and value[10:11] == "T" and value[:4].isdigit():
        return datetime.fromisoformat(value).astimezone(UTC)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def test_both_kinds_of_certificates_log_in(reading: Reading) -> None:
    assert reading.read["certificate_logins"] == len(reading.asked["certificates"]) == 2


def test_the_limits_are_those_in_force(reading: Reading) -> None:
    assert reading.read["limits"] == LIMITS
    assert len(LIMITS) >= 17


def expected(reading: Reading, filters: Row) -> Iterator[Row]:
    """Yield the sessions that a client's filters leave, by the world alone."""
    bounds = {
        name: datetime.fromisoformat(value)
        for name, value in filters.items()
        if name.startswith("date_")
    }
    for row in reading.sessions():
        moments = {field: datetime.fromisoformat(row[field]) for field in MOMENTS.values()}
        within = [
            moments[MOMENTS[name.rpartition("_")[0]]] >= at
            if name.endswith("_from")
            else moments[MOMENTS[name.rpartition("_")[0]]] <= at
            for name, at in bounds.items()
            if "closed" not in name
        ]
        is_closed = row["status"]["code"] not in (100,)
        if "date_closed_to" in filters:
            within.append(is_closed and "date_closed_from" in filters)
        if "statuses" in filters:
            within.append(any(STATUSES[s](row["status"]["code"]) for s in filters["statuses"]))
        if "reference_number" in filters:
            within.append(row["referenceNumber"] == filters["reference_number"])
        if all(within):
            yield row


MOMENTS = {"date_created": "dateCreated", "date_modified": "dateUpdated"}


def test_every_list_holds_the_sessions_of_the_world_that_its_filters_leave(
    reading: Reading,
) -> None:
    sizes = []
    for filters, found in zip(reading.asked["filters"], reading.read["lists"], strict=True):
        should = list(expected(reading, filters))
        assert plain(found) == plain(should), filters
        sizes.append(len(should))
    assert sizes[0] > 10, "one page is no list"
    assert len(set(sizes)) > 4, "filters that leave out nothing prove nothing"


def test_a_session_its_invoices_and_its_failures_are_those_of_the_world(reading: Reading) -> None:
    made, session = reading.made, reading.asked["session"]
    (listed,) = (
        row
        for row in made.world.sessions(reading.nip, made.at)
        if row["referenceNumber"] == session
    )
    status = reading.read["status"]
    assert plain(status["status"]) == plain(listed["status"])
    assert status["successfulInvoiceCount"] == listed["successfulInvoiceCount"]
    assert status["failedInvoiceCount"] == listed["failedInvoiceCount"]
    rows = made.world.invoices(reading.nip, session, made.at)
    failed = made.world.failed_invoices(reading.nip, session, made.at)
    assert plain(reading.read["invoices"]) == plain(rows)
    assert plain(reading.read["failed"]) == plain(failed)
    assert 0 < len(failed) < len(rows)
    one = reading.asked["invoice"]
    assert plain(reading.read["invoice"]) == plain(one)


def test_three_receipts_confirm_the_invoices_that_got_in(reading: Reading) -> None:
    page, by_number, by_reference = map(numbers_of, reading.read["receipts"])
    rows = reading.made.world.invoices(reading.nip, reading.asked["session"], reading.made.at)
    assert page == [row["ksefNumber"] for row in rows if row["status"]["code"] == 200]
    assert by_number == by_reference == [reading.asked["invoice"]["ksefNumber"]]


def numbers_of(receipt: str) -> list[str | None]:
    root = etree.fromstring(receipt.encode())
    return [number.text for number in root.findall("{*}Dokument/{*}NumerKSeFDokumentu")]


def test_an_export_is_decrypted_and_unpacked(reading: Reading) -> None:
    made = reading.made
    rows = made.world.exported(reading.nip, "Subject1", made.at)
    until = made.at - timedelta(seconds=made.exports.hwm_lag_s)
    settled = {
        row["ksefNumber"]
        for row in rows
        if datetime.fromisoformat(row["permanentStorageDate"]) < until
    }
    assert len(settled) > 50
    for package in reading.read["packages"]:
        numbers = [row["ksefNumber"] for row in package["metadata"]]
        assert len(numbers) == len(set(numbers))
        assert settled <= set(numbers) <= {row["ksefNumber"] for row in rows}
        assert {name.removesuffix(".xml") for name in package["files"]} == set(numbers)
        known = {row["ksefNumber"]: row for row in rows}
        for row in package["metadata"]:
            told = known[row["ksefNumber"]]
            assert row["invoiceNumber"] == told["invoiceNumber"]
            assert row["grossAmount"] == pytest.approx(told["grossAmount"])
            assert row["invoiceHash"] == told["invoiceHash"]
