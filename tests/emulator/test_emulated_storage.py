from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ksef_emulator import Emulator, ExportSettings, Fault, Quirks, VirtualClock, World, serve
from tests.emulator.exporting import Exporter, hash_of
from tests.emulator.logging_in import SINCE, Headers


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=7, since=SINCE, largest_session=30, sessions_per_day=4)


@pytest.fixture
def app(world: World, clock: VirtualClock) -> Emulator:
    return Emulator(world, clock, exports=ExportSettings(duration_s=0, link_lifetime_s=600))


@pytest.fixture
def exporter(client: httpx.Client, headers: Headers, clock: VirtualClock) -> Exporter:
    return Exporter(client, headers, clock)


@pytest.fixture
def url(exporter: Exporter) -> str:
    return str(exporter.package()["parts"][0]["url"])


def test_links_need_no_token_and_refuse_one(
    client: httpx.Client,
    headers: Headers,
    url: str,
    connect: Callable[[Emulator], httpx.Client],
    world: World,
    clock: VirtualClock,
) -> None:
    assert client.get(url).status_code == 200
    refused = client.get(url, headers=headers)
    assert refused.status_code == 400
    assert refused.headers["Content-Type"].startswith("application/xml")
    assert "<Code>InvalidAuthenticationInfo</Code>" in refused.text
    settings, quirks = ExportSettings(duration_s=0), Quirks(storage_refuses_tokens=False)
    tolerant = connect(Emulator(world, clock, exports=settings, quirks=quirks))
    part = Exporter(tolerant, headers, clock).package()["parts"][0]
    assert tolerant.get(part["url"], headers=headers).status_code == 200


def test_links_expire_on_the_emulators_clock_and_a_poll_gives_fresh_ones(
    exporter: Exporter, client: httpx.Client, clock: VirtualClock
) -> None:
    reference = exporter.start()
    first = exporter.finish(reference)["package"]["parts"][0]
    second = exporter.poll(reference).json()["package"]["parts"][0]
    assert first["url"] != second["url"]
    assert first["expirationDate"] == "2026-09-22T10:40:00.0000000+00:00"
    clock.sleep(600)
    assert client.get(first["url"]).status_code == 200
    clock.sleep(1)
    expired = client.get(first["url"])
    assert expired.status_code == 403
    assert "<Code>AuthenticationFailed</Code>" in expired.text
    fresh = exporter.poll(reference).json()["package"]["parts"][0]
    assert hash_of(client.get(fresh["url"]).content) == first["encryptedPartHash"]


@pytest.mark.parametrize(("old", "new"), [("-001.zip", "-002.zip"), ("se=2026", "se=2027")])
def test_a_link_changed_by_hand_is_refused(
    client: httpx.Client, url: str, old: str, new: str
) -> None:
    assert client.get(url.replace(old, new)).status_code == 403
    assert client.get(url.partition("?")[0]).status_code == 403


def test_a_blob_that_is_gone_is_404(client: httpx.Client, url: str, app: Emulator) -> None:
    fresh = Emulator(app.world, app.clock)
    with httpx.Client(transport=httpx.WSGITransport(fresh)) as other:
        answer = other.get(url)
    assert (answer.status_code, "<Code>BlobNotFound</Code>" in answer.text) == (404, True)


def test_downloads_are_outside_the_limits_and_can_be_looked_at(
    client: httpx.Client, url: str, app: Emulator
) -> None:
    assert {client.get(url).status_code for _ in range(80)} == {200}
    served = app.requests[-1]
    assert (served.group, served.route, served.status) == (
        "storage",
        "/storage/<container>/<path:path>",
        200,
    )
    assert served.path.startswith("/storage/06/20260922-eh-")
    assert served.context_id == ""


def test_a_part_of_a_blob_can_be_asked_for(client: httpx.Client, url: str) -> None:
    whole = client.get(url)
    assert whole.headers["Accept-Ranges"] == "bytes"
    some = client.get(url, headers={"Range": "bytes=100-199"})
    assert (some.status_code, some.content) == (206, whole.content[100:200])
    assert some.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"


@pytest.mark.parametrize(("kind", "status"), [("500", 500), ("502", 502), ("403-waf", 403)])
def test_faults_strike_storage_too(
    world: World,
    clock: VirtualClock,
    headers: Headers,
    connect: Callable[[Emulator], httpx.Client],
    kind: Any,
    status: int,
) -> None:
    faults = [Fault(kind, path="/invoice-package/")]
    settings = ExportSettings(duration_s=0)
    client = connect(Emulator(world, clock, faults=faults, exports=settings))
    url = Exporter(client, headers, clock).package()["parts"][0]["url"]
    assert [client.get(url).status_code for _ in range(2)] == [status, 200]


def test_a_large_part_comes_over_a_real_socket(
    world: World, clock: VirtualClock, headers: Headers
) -> None:
    settings = ExportSettings(duration_s=0)
    app = Emulator(world, clock, faults=[Fault("truncated", path="/storage/")], exports=settings)
    with serve(app) as base_url, httpx.Client(base_url=base_url) as client:
        exporter = Exporter(client, headers, clock)
        package = exporter.package()
        assert httpx.URL(package["parts"][0]["url"]).port == httpx.URL(base_url).port
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(package["parts"][0]["url"])
        assert len(exporter.download(package)) == package["size"] > 300_000
