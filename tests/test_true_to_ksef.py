"""What real KSeF was seen to do and its contract does not say."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from ksef_emulator import ExportSettings, Fault
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.credentials import CertificateCredentials, Credentials, TokenCredentials
from kseflow.clock import SimulatedClock
from kseflow.constants import LONGEST_TOKEN, TOKENS_END
from kseflow.context import Context
from kseflow.errors import Unavailable
from kseflow.loading.exports.unpack import unpacked
from kseflow.watch.doctor.api import examine_taxpayer
from kseflow.watch.finding import State
from tests.conftest import Stage
from tests.simulation import asking

Make = Callable[..., Stage]


def owner(made: Stage, folder: Path) -> CertificateCredentials:
    context = made.contexts[0]
    files = next(f for f in made.app.certificate_files(folder)[context.id] if f.kind == "rsa")
    return CertificateCredentials.from_files(
        context, files.certificate, private_key=files.key, password=files.password
    )


@pytest.mark.parametrize("claims_owner", [True, False])
def test_an_owners_login_exports_and_sees_all_sessions(
    stage: Make, tmp_path: Path, claims_owner: bool
) -> None:
    made = stage(
        taxpayers=1, days=1, exports_per_hour=4, quirks={"owner_claim": claims_owner},
        exports=ExportSettings(),
    )  # fmt: skip
    with made.served() as base_url:
        box = made.box()
        clients = make_clients(base_url, [owner(made, tmp_path)], box)
        summary = made.load_with(clients, box, exports_from=made.world.since)
    assert {log["outcome"] for log in summary.logs} == {"ok"}
    assert made.value("select count(*) from ksef_raw.invoice_metadata") > 0


def test_the_doctor_says_that_an_owners_login_may_do_more_and_how_to_have_less(
    stage: Make, tmp_path: Path
) -> None:
    made = stage(taxpayers=1, days=1)
    with made.served() as base_url:
        login, clock = owner(made, tmp_path), SimulatedClock(made.clock)
        lines = list(examine_taxpayer(base_url, login, clock, {}, wants_exports=True))
    (line,) = (line for line in lines if line.topic == "permissions")
    assert line.state is State.WARNING
    assert "the owner's" in line.message
    assert "cannot be narrowed" in (line.remedy or "")


@pytest.mark.parametrize(
    "path",
    [
        "/sessions$",
        "/auth/challenge",
        "/auth/token/redeem",
        "/invoices$",
        "/invoices/exports$",
        "/storage/",
    ],
)
def test_a_page_of_the_firewall_is_weather(stage: Make, path: str) -> None:
    made = stage(
        taxpayers=1,
        days=1,
        exports_per_hour=4,
        exports=ExportSettings(),
        faults=[Fault("html", path=path, nth=1, times=2)],
    )
    summary = made.load(exports_from=made.world.since)
    assert {log["outcome"] for log in summary.logs} == {"ok"}
    assert made.value("select count(*) from ksef_raw.session_invoices") > 0


def test_tokens_that_a_page_of_the_firewall_replaced_cost_another_login(stage: Make) -> None:
    made = stage(taxpayers=1, days=1)
    replaced: list[str] = []

    class Replacing(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if not request.url.path.endswith("/redeem") or replaced:
                return answer
            await answer.aclose()
            replaced.append(request.url.path)
            return httpx.Response(200, html="<html></html>")

    box = made.box()
    with made.served() as base_url:
        clients = make_clients(base_url, made.logins(), box, transport=Replacing())
        summary = made.load_with(clients, box, only=["sessions"])
    assert replaced
    assert summary.failed_taxpayers == []


def test_a_firewall_that_stays_is_told_as_such(stage: Make) -> None:
    made = stage(taxpayers=1, faults=[Fault("html", path="/sessions$", times=99)])
    with made.served() as base_url, asking(
        KsefClient(base_url, made.logins()[0], clock=made.box())
    ) as client, pytest.raises(Unavailable, match="firewall"):  # fmt: skip
        list(client.sessions("Online"))


def test_an_empty_403_for_a_bearer_brings_a_new_one(stage: Make) -> None:
    made = stage(taxpayers=1, faults=[Fault("403-empty", path="/sessions$")])
    assert made.load(only=["sessions"]).failed_taxpayers == []
    routes = Counter(request.route.removeprefix("/v2") for request in made.app.requests)
    assert routes["/auth/token/refresh"] == 1


def test_keys_without_an_id_do_as_well(stage: Make) -> None:
    made = stage(taxpayers=1, days=1, exports_per_hour=4, exports=ExportSettings())
    asked: list[bytes] = []

    class Nameless(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith(("/auth/ksef-token", "/invoices/exports")):
                asked.append(request.content)
            answer = await super().handle_async_request(request)
            if not request.url.path.endswith("/public-key-certificates"):
                return answer
            await answer.aread()
            keys = [{n: v for n, v in key.items() if n != "publicKeyId"} for key in answer.json()]
            await answer.aclose()
            return httpx.Response(200, json=keys)

    box = made.box()
    with made.served() as base_url:
        clients = make_clients(base_url, made.logins(), box, transport=Nameless())
        summary = made.load_with(clients, box, exports_from=made.world.since)
    assert summary.failed_taxpayers == []
    assert len(asked) > 2
    assert not [body for body in asked if b"publicKeyId" in body]


def test_a_listing_that_ksef_refuses_is_not_taken_up_for_ever(stage: Make) -> None:
    made = stage(
        taxpayers=1,
        days=2,
        sessions_per_day=3_000,
        largest_session=2,
        limits={"sessionList": {"perSecond": 1, "perMinute": 1, "perHour": 60}},
        short_pages=False,
    )
    made.load(only=["sessions"], max_time_s=90)
    refused: list[str] = []

    class Refusing(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/sessions") and "dateCreatedTo" in str(request.url):
                refused.append(str(request.url))
                details = [{"exceptionCode": 21405, "exceptionDescription": "zakres"}]
                body = {"exception": {"exceptionDetailList": details}}
                return httpx.Response(400, json=body)
            return await super().handle_async_request(request)

    made.limits = "off"
    for _ in range(2):
        box, seen = made.box(), len(refused)
        with made.served() as base_url:
            clients = make_clients(base_url, made.logins(), box, transport=Refusing())
            summary = made.load_with(clients, box, only=["sessions"])
        made.clock.sleep(timedelta(minutes=5).total_seconds())
    assert 0 < len(refused) < 12
    assert len(refused) == seen  # by the second load
    assert summary.failed_taxpayers == []
    stored = made.value("select count(*) from ksef_raw.sessions")
    assert stored >= len(made.world.sessions(made.contexts[0].id, made.at))


def test_members_of_a_targz_may_begin_with_a_dot(tmp_path: Path) -> None:
    import io
    import tarfile

    path = tmp_path / "package.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        content = b'{"invoices": []}'
        metadata = tarfile.TarInfo("./_metadata.json")
        metadata.size = len(content)
        archive.addfile(metadata, io.BytesIO(content))
    with path.open("rb") as file, unpacked(file, "TarGz", "package EH", None) as found:
        assert found.metadata == []


class Allowing(httpx.AsyncHTTPTransport):
    """A KSeF that lists at most a span of so many days at a time."""

    def __init__(self, days: float, now: datetime) -> None:
        super().__init__()
        self._span, self._now = timedelta(days=days), now
        self.refused_count = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        params = request.url.params
        for name in ("dateModified", "dateCreated"):
            begin = params.get(f"{name}From")
            end = params.get(f"{name}To")
            if begin and self._moment(end) - self._moment(begin) > self._span:
                self.refused_count += 1
                details = [{"exceptionCode": 21405, "exceptionDescription": "zakres"}]
                body = {"exception": {"exceptionDetailList": details}}
                return httpx.Response(400, json=body)
        return await super().handle_async_request(request)

    def _moment(self, text: str | None) -> datetime:
        return datetime.fromisoformat(text) if text else self._now


@pytest.mark.parametrize("days", [90, 7])
def test_a_span_that_ksef_refuses_is_listed_in_slices(stage: Make, days: int) -> None:
    made = stage(taxpayers=1, days=400, sessions_per_day=1, largest_session=2)
    allowing = Allowing(days, made.at)
    with made.served() as base_url:
        box = made.box()
        clients = make_clients(base_url, made.logins(), box, transport=allowing)
        summary = made.load_with(clients, box, only=["sessions"])
    assert summary.failed_taxpayers == []
    stored = {row["reference_number"] for row in made.rows("from ksef_raw.sessions")}
    true = made.world.sessions(made.contexts[0].id, made.at)
    assert stored == {session["referenceNumber"] for session in true}
    assert 0 < allowing.refused_count < 20
    asked = [r for r in made.app.requests if r.route.endswith("/sessions")]
    assert len(asked) < 2 * (2 * 460 / days + 2)


def test_slices_that_the_time_box_interrupts_go_on_where_they_were(stage: Make) -> None:
    made = stage(
        taxpayers=1,
        days=400,
        sessions_per_day=1,
        largest_session=2,
        limits={"sessionList": {"perSecond": 1, "perMinute": 3, "perHour": 60}},
    )
    for _ in range(12):
        box = made.box(max_time_s=65)
        with made.served() as base_url:
            clients = make_clients(
                base_url, made.logins(), box, transport=Allowing(30, made.clock.now())
            )
            summary = made.load_with(clients, box, only=["sessions"])
        made.clock.sleep(60)
        if {log["outcome"] for log in summary.logs} == {"ok"}:
            break
    assert {log["outcome"] for log in summary.logs} == {"ok"}
    stored = {row["reference_number"] for row in made.rows("from ksef_raw.sessions")}
    true = made.world.sessions(made.contexts[0].id, made.at)
    assert stored >= {session["referenceNumber"] for session in true}


def test_what_ksef_warns_of_is_kept_with_the_moments_it_was_seen(stage: Make) -> None:
    text = "[api-007]: GET /sessions will end in 2027"
    made = stage(
        taxpayers=1, days=1, faults=[Fault("warning", path="/v2/sessions$", times=99, text=text)]
    )
    for _ in range(2):
        made.load()
        made.clock.sleep(3600)
    first, second = made.rows("from ksef_raw.api_warnings order by run_id")
    assert first["message"] == second["message"] == text
    assert first["api_group"] == "sessionList"
    assert first["answer_count"] >= 2
    assert first["first_seen_at"] <= first["last_seen_at"] < second["first_seen_at"]


@pytest.mark.parametrize("kind", ["token", "certificate", "token with its own end"])
def test_a_load_tells_how_long_its_login_lives(stage: Make, tmp_path: Path, kind: str) -> None:
    made = stage(taxpayers=1, days=1)
    login: Credentials = made.logins()[0]
    true: tuple[object, object] = datetime(2026, 1, 2, tzinfo=UTC), TOKENS_END
    with made.served() as base_url:
        if kind == "certificate":
            login = owner(made, tmp_path)
            true = login.certificate.not_valid_before_utc, login.certificate.not_valid_after_utc
        elif kind != "token":
            ends_at = datetime(2027, 5, 1, tzinfo=UTC)
            login, true = replace(made.logins()[0], ends_at=ends_at), (true[0], ends_at)
        box = made.box()
        made.load_with(make_clients(base_url, [login], box), box, only=["sessions"])
    (row,) = made.rows("from ksef_raw.sync_log where resource = 'login'")
    assert row["credential"] == kind.split()[0]
    assert (row["credential_issued_at"], row["credential_ends_at"]) == true


def test_after_the_laws_date_a_token_that_works_lives_a_year_at_most() -> None:
    made_at = datetime(2027, 3, 4, tzinfo=UTC)
    context = Context("Nip", "1111111111")
    named = TokenCredentials(context, "20270304-EC-1234567890-1234567890-12|nip-1111111111|x")
    assert named.term(datetime(2027, 4, 1, tzinfo=UTC)) == (made_at, made_at + LONGEST_TOKEN)
    odd = TokenCredentials(context, "20271341-EC-what")
    assert odd.term(datetime(2027, 4, 1, tzinfo=UTC)) == (None, None)
    assert odd.term(datetime(2026, 4, 1, tzinfo=UTC)) == (None, TOKENS_END)
