from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from ksef_emulator import ExportSettings, VirtualClock, World
from tests.emulator.exporting import KEY, Exporter, encryption, metadata
from tests.emulator.logging_in import NOW, SINCE, Headers

Login = Callable[[str, str], Headers]
Make = Callable[..., Exporter]


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=7, since=SINCE, largest_session=60, sessions_per_day=8)


@pytest.fixture
def nip(world: World) -> str:
    return world.taxpayers[0].context_id


def codes(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 400
    details = answer.json()["exception"]["exceptionDetailList"]
    return [detail["exceptionCode"] for detail in details]


def details(answer: httpx.Response) -> list[str]:
    texts: list[str] = answer.json()["exception"]["exceptionDetailList"][0]["details"]
    return texts


def test_an_export_takes_its_time_and_has_its_dates(make: Make) -> None:
    exporter = make(ExportSettings(duration_s=60))
    reference = exporter.start()
    assert exporter.poll(reference).json() == {
        "status": {"code": 100, "description": "Eksport faktur w toku"}
    }
    exporter.clock.sleep(61)
    body = exporter.poll(reference).json()
    assert body["status"] == {"code": 200, "description": "Eksport faktur zakończony sukcesem"}
    assert body["completedDate"] == "2026-09-22T10:31:00.0000000+00:00"
    assert body["packageExpirationDate"] == "2026-09-29T10:31:00.0000000+00:00"
    assert body["package"]["permanentStorageHwmDate"] == "2026-09-22T10:28:30.0000000+00:00"
    assert reference[8:12] == "-EH-"


def test_a_larger_export_takes_longer(make: Make) -> None:
    ends = []
    for since in (NOW - timedelta(minutes=5), SINCE):
        exporter = make()
        began = exporter.clock.now()
        ended = exporter.finish(exporter.start(dates={"from": since.isoformat()}))
        ends.append(datetime.fromisoformat(ended["completedDate"]) - began)
    assert timedelta(seconds=3) <= ends[0] < ends[1]


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"dates": {"from": None}}, "'filters.dateRange.from' must not be empty."),
        (
            {"dates": {"from": "2026-06-01T00:00:00Z"}},
            "'filters.dateRange' must not exceed 100 days.",
        ),
        (
            {"dates": {"from": "2026-01-01T00:00:00Z", "to": "2026-04-11T00:00:01Z"}},
            "'filters.dateRange' must not exceed 100 days.",
        ),
        (
            {"dates": {"to": "2026-09-06T00:00:00Z"}},
            "'filters.dateRange.from' must be less than or equal to 'filters.dateRange.to'.",
        ),
        (
            {"dates": {"from": "yesterday"}},
            "The JSON value could not be converted. Path: $.filters.dateRange.from.",
        ),
        ({"dates": {"dateType": None}}, "'filters.dateRange.dateType' must not be empty."),
        ({"filters": {"dateRange": None}}, "'filters.dateRange' must not be empty."),
        (
            {"filters": {"subjectType": "Subject4"}},
            "The JSON value could not be converted. Path: $.filters.subjectType.",
        ),
        (
            {"filters": {"ksefNumber": "1234567890"}},
            "'filters.ksefNumber' is not in the correct format.",
        ),
        ({"encryption": None}, "'encryption' must not be empty."),
        (
            {"compressionType": "Rar"},
            "The JSON value could not be converted. Path: $.compressionType.",
        ),
    ],
)
def test_malformed_requests_are_refused_in_net_words(
    exporter: Exporter, changes: dict[str, Any], detail: str
) -> None:
    answer = exporter.post(**changes)
    assert codes(answer) == [21405]
    assert details(answer) == [detail]


def test_all_problems_of_a_request_are_told_at_once_as_recorded(exporter: Exporter) -> None:
    answer = exporter.post(filters={"subjectType": None, "dateRange": None})
    assert codes(answer) == [21405]
    assert details(answer) == [
        "'filters.subjectType' must not be empty.",
        "'filters.dateRange' must not be empty.",
    ]
    answer = exporter.post(
        dates={"dateType": None}, filters={"sellerNip": "0"}, encryption={"publicKeyId": "short"}
    )
    assert details(answer) == [
        "'filters.dateRange.dateType' must not be empty.",
        "'filters.sellerNip' is not in the correct format.",
        "'encryption.encryptedSymmetricKey' must not be empty.",
        "'encryption.initializationVector' must not be empty.",
        "'encryption.publicKeyId' is not in the correct format.",
    ]


def test_json_of_the_wrong_type_is_told_alone(exporter: Exporter) -> None:
    answer = exporter.post(filters={"subjectType": None, "isSelfInvoicing": "no"})
    assert details(answer) == [
        "The JSON value could not be converted. Path: $.filters.isSelfInvoicing."
    ]


def test_a_hundred_days_are_allowed_and_dates_without_an_offset_are_polish(
    exporter: Exporter, world: World, nip: str
) -> None:
    dates = {"from": "2026-06-20T00:00:00", "to": "2026-09-28T00:00:00"}
    assert exporter.post(dates=dates).status_code == 201
    package = exporter.package(dates={"from": "2026-09-10T00:00:00", "to": "2026-09-11T00:00:00"})
    days = [row["permanentStorageDate"] for row in metadata(exporter.files(package))]
    assert package["permanentStorageHwmDate"] == "2026-09-10T22:00:00.0000000+00:00"
    assert days
    assert min(days) > "2026-09-09T22:00" < max(days) < "2026-09-10T22:00"


def test_from_beyond_the_hwm_ends_with_420_if_restricted(exporter: Exporter) -> None:
    dates = {"from": (NOW + timedelta(minutes=5)).isoformat()}
    refused = exporter.finish(exporter.start(dates=dates))
    assert refused["status"]["code"] == 420
    assert refused["status"]["details"] == [
        "Parametr dateRange.from jest późniejszy niż PermanentStorageHwmDate"
        " przy włączonym restrictToPermanentStorageHwmDate."
    ]
    assert "package" not in refused
    free = {**dates, "restrictToPermanentStorageHwmDate": False}
    assert exporter.package(dates=free)["invoiceCount"] == 0


@pytest.mark.parametrize("key", [b"0" * 31, None])
def test_a_key_that_is_none_is_found_out_later(exporter: Exporter, key: bytes | None) -> None:
    wrong = encryption(exporter.client, key or KEY)
    if key is None:
        wrong["encryptedSymmetricKey"] = b64encode(bytes(256)).decode()
    reference = exporter.start(encryption=wrong)
    assert exporter.finish(reference)["status"] == {
        "code": 415,
        "description": "Błąd odszyfrowania dostarczonego klucza",
    }


def test_an_unknown_key_id_is_refused_at_once_and_none_is_needed(
    make: Make, exporter: Exporter
) -> None:
    given = encryption(exporter.client)
    other = {**given, "publicKeyId": b64encode(bytes(32)).decode()}
    answer = exporter.post(encryption=other)
    assert codes(answer) == [21470]
    assert other["publicKeyId"] in details(answer)[0]
    short = {**given, "initializationVector": b64encode(b64decode("AAAA")).decode()}
    assert codes(exporter.post(encryption=short)) == [21405]
    del given["publicKeyId"]
    assert exporter.post(encryption=given).status_code == 201


def test_a_subject_has_ten_slots_in_a_context(
    exporter: Exporter, login: Login, world: World
) -> None:
    references = [exporter.start() for _ in range(10)]
    answer = exporter.post()
    assert codes(answer) == [21182]
    assert details(answer) == [
        "Dla uwierzytelnionego podmiotu w bieżącym kontekście osiągnięto maksymalny limit"
        " 10 równoczesnych eksportów faktur. Spróbuj ponownie później."
    ]
    other = world.taxpayers[1]
    neighbour = Exporter(exporter.client, login(other.token, other.context_id), VirtualClock(NOW))
    assert neighbour.post().status_code == 201
    exporter.finish(references[0])
    assert exporter.post().status_code == 201


def test_stuck_exports_hold_their_slots_for_ever(make: Make) -> None:
    exporter = make(ExportSettings(slots=2, outcomes={1: 100, 2: 100}))
    stuck = [exporter.start() for _ in range(2)]
    exporter.clock.sleep(600)
    assert [exporter.poll(one).json()["status"]["code"] for one in stuck] == [100, 100]
    assert codes(exporter.post()) == [21182]


@pytest.mark.parametrize(
    ("code", "description"),
    [
        (210, "Eksport faktur wygasł i nie jest już dostępny do pobrania"),
        (500, "Nieznany błąd (500)"),
        (550, "Operacja została anulowana przez system"),
    ],
)
def test_an_export_may_end_badly_by_setting(make: Make, code: Any, description: str) -> None:
    exporter = make(ExportSettings(outcomes={2: code}))
    first, second = exporter.start(), exporter.start()
    assert exporter.finish(first)["status"]["code"] == 200
    ended = exporter.finish(second)
    assert (ended["status"]["code"], ended["status"]["description"]) == (code, description)
    assert "package" not in ended


def test_a_week_after_its_end_an_export_is_gone(make: Make, login: Login, world: World) -> None:
    exporter = make(ExportSettings(duration_s=10))
    reference = exporter.start()
    url = exporter.finish(reference)["package"]["parts"][0]["url"]
    for days, status in ((7, 200), (0.001, 410)):
        exporter.clock.sleep(days * 86_400 - 10)
        taxpayer = world.taxpayers[0]
        exporter.headers = login(taxpayer.token, taxpayer.context_id)
        answer = exporter.poll(reference)
        assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["detail"] == "Operacja wygasła i nie jest już dostępna."
    assert exporter.client.get(url).status_code == 403


def test_exports_of_others_do_not_exist(exporter: Exporter, login: Login, world: World) -> None:
    reference = exporter.start()
    other = world.taxpayers[1]
    neighbour = Exporter(exporter.client, login(other.token, other.context_id), exporter.clock)
    assert codes(neighbour.poll(reference)) == [21175]
    assert codes(exporter.poll("20260922-EH-0000000000-0000000000-00")) == [21175]
    assert codes(exporter.poll("short")) == [21405]


def test_a_token_without_invoice_read_may_not_export(
    exporter: Exporter, login: Login, world: World
) -> None:
    taxpayer = world.taxpayers[0]
    exporter.headers = login(taxpayer.write_only_token, taxpayer.context_id)
    answer = exporter.post()
    assert answer.status_code == 403
    assert answer.json()["security"]["requiredAnyOfPermissions"] == ["InvoiceRead"]
    exporter.headers = login(taxpayer.read_only_token, taxpayer.context_id)
    assert exporter.post().status_code == 201


def test_requests_and_polls_count_in_their_own_groups(make: Make) -> None:
    exporter = make(limits="production")
    reference = exporter.start()
    statuses = [exporter.poll(reference).status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    for _ in range(7):
        exporter.post()
    answer = exporter.post()
    assert answer.status_code == 429
    assert "limit 8 żądań na sekundę" in answer.json()["status"]["details"][0]


def test_the_package_may_come_after_its_status(make: Make) -> None:
    exporter = make(ExportSettings(late_package_polls=1, shows_compression_type=False))
    reference = exporter.start()
    assert "package" not in exporter.finish(reference)
    package = exporter.poll(reference).json()["package"]
    assert package["invoiceCount"] > 0
    assert "compressionType" not in package
