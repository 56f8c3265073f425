"""Tokens, keys, passwords and signed links: used, never written, and sent to KSeF alone."""

import base64
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ksef_emulator import Emulator, ExportSettings, Fault, serve
from kseflow.api.address import base_url_of, proxy_of, usable_proxy_of
from kseflow.api.client import KsefClient
from kseflow.errors import ConfigurationError, ContractViolation, KsefError, Unavailable
from tests.conftest import Stage

PASSWORD = "Tr0ub4dor-and-3"
WEBHOOK = "http://127.0.0.1:9/services/T00-SECRET-HOOK"
JWT = re.compile(rb"eyJ[\w-]{8,}\.[\w-]{8,}\.([\w-]{16,})")  # its signature is what must not leak
SIGNATURE = re.compile(rb"[?&]sig=([^&\"\s]+)")

FAULTS = [
    Fault("500", "/auth/challenge"),
    Fault("html", "/auth/ksef-token"),
    Fault("403-empty", "/sessions$", nth=2),
    Fault("not-json", "/invoices$"),
    Fault("403-waf", "/invoices$", nth=2),
    Fault("dropped", "/invoices/failed", nth=1),
    Fault("missing-field", "/invoices$", nth=4),
    Fault("truncated", "/sessions/[^/]+$"),
    Fault("altered", "/storage/"),
    Fault("500", "/storage/", nth=3),
    Fault("html", "/storage/", nth=5),
]


class Overheard(Emulator):
    """Remember what goes over the wire and must not be found anywhere else."""

    secrets: set[bytes]

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        said = environ.get("HTTP_AUTHORIZATION", "").encode()
        answer = b"".join(super().__call__(environ, start_response))
        self.secrets |= {*JWT.findall(said + answer), *SIGNATURE.findall(answer)}
        return [answer]


def texts_of(database: Path) -> Iterator[bytes]:
    """Yield every value of every table, and what dlt packs into its state."""
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = connection.execute("select schema_name, table_name from duckdb_tables()")
        for schema, table in tables.fetchall():
            found = connection.execute(f'from "{schema}"."{table}"').fetchall()
            for value in (str(value) for row in found for value in row if value is not None):
                yield value.encode()
                if table == "_dlt_pipeline_state" and len(value) > 100:
                    yield zlib.decompress(base64.b64decode(value))


def written(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield all that lies in a folder, tables as their values."""
    for path in folder.rglob("*"):
        if path.is_file() and ".dlt" not in path.parts:
            yield str(path), path.read_bytes()
            if path.suffix == ".duckdb":
                yield str(path), b"\n".join(texts_of(path))
            if path.suffix == ".parquet":
                with duckdb.connect() as connection:
                    rows = connection.execute(f"from read_parquet('{path}')").fetchall()
                yield str(path), repr(rows).encode()


def configure(folder: Path, base_url: str, made: Stage, key: Path, certificate: Path) -> None:
    first, second = made.contexts
    (folder / ".dlt").mkdir()
    (folder / ".dlt" / "config.toml").write_text(
        f'[sources.ksef]\nenvironment = "{base_url}"\ntaxpayers = ["meat", "transport"]\n'
        f"exports_per_hour = 2\nexports_from = {made.world.since:%Y-%m-%d}\n"
        f'[sources.ksef.meat]\nnip = "{first.id}"\n'
        f'[sources.ksef.transport]\nnip = "{second.id}"\n'
        f'certificate = "{certificate}"\nprivate_key = "{key}"\n'
    )
    (folder / ".dlt" / "secrets.toml").write_text(
        f'[sources.ksef.meat]\ntoken = "{made.tokens[first]}"\n'
        f'[sources.ksef.transport]\npassword = "{PASSWORD}"\n[check]\nwebhook = "{WEBHOOK}"\n'
    )


def encrypted(files: Any, folder: Path) -> tuple[Path, list[bytes]]:
    """Encrypt a certificate's key with our password; return where, and what would betray it."""
    password = files.password.encode() if files.password else None
    key = serialization.load_pem_private_key(Path(files.key).read_bytes(), password)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    kind = serialization.PrivateFormat.PKCS8
    lock = serialization.BestAvailableEncryption(PASSWORD.encode())
    path = folder / "company.key"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, lock))
    number = key.private_numbers().private_value
    plain = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    return path, [str(number).encode(), f"{number:x}".encode(), plain.splitlines()[1]]


def test_no_command_writes_a_secret_anywhere(
    stage: Callable[..., Stage], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made, keys = stage(taxpayers=2, days=1), tmp_path_factory.mktemp("keys")
    exports = ExportSettings(duration_s=0)
    heard = Overheard(made.world, made.clock, "off", faults=FAULTS, exports=exports)
    heard.secrets = set()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SOURCES__")}
    environment |= {"RUNTIME__LOG_LEVEL": "DEBUG", "COLUMNS": "500"}
    output: dict[str, bytes] = {}

    def run(*command: str, **more: str) -> None:
        told = subprocess.run(
            [sys.executable, "-c", "from kseflow.cli import main; main()", *command],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            check=False,
        )
        output[" ".join([*command, *more])] = told.stdout + told.stderr

    with serve(heard, keeps_connections=True) as base_url:
        files = heard.certificate_files(keys)[made.contexts[1].id]
        key, private = encrypted(next(f for f in files if f.kind == "ec"), keys)
        certificate = Path(next(f for f in files if f.kind == "ec").certificate)
        configure(tmp_path, base_url, made, key, certificate)
        run("load", "-v", "--build", "--with-xml", "xml")
        assert (tmp_path / "ksef-load.duckdb").exists(), output
        run("check", "-v")
        run("report", "-v")
        session = re.search(rb"\d{8}-S[OB]-[0-9A-F-]+", b"\n".join(texts_of_loaded(tmp_path)))
        assert session
        run("upo", "-v", "--session", session[0].decode(), "--nip", made.contexts[0].id)
        user = base_url.replace("http://", f"http://user:{PASSWORD}@")
        run("load", "-v", "--only", "sessions", SOURCES__KSEF__ENVIRONMENT=user)
        run("doctor", "-v", SOURCES__KSEF__TRANSPORT__PASSWORD=f"{PASSWORD}x")
        run("load", "-v", "--environment", "test", HTTPS_PROXY=f"user:{PASSWORD}@127.0.0.1:9x")
    secrets = {token.encode() for token in made.tokens.values()} | heard.secrets | {*private}
    secrets |= {PASSWORD.encode(), b"T00-SECRET-HOOK"}
    assert len(heard.secrets) > 10, "the wire was overheard"
    assert b"Traceback" in b"".join(output.values()), "the highest verbosity shows tracebacks"
    places = [*output.items(), *written(tmp_path)]
    assert {Path(name).suffix for name, _ in places} >= {".duckdb", ".xml", ".html"}
    leaks = [
        (name, secret[:12]) for name, content in places for secret in secrets if secret in content
    ]
    assert leaks == []


def texts_of_loaded(folder: Path) -> list[bytes]:
    return [*texts_of(folder / "ksef-load.duckdb")]


# -- what has a password in it is not shown --------------------------------------------------------


@pytest.mark.parametrize(
    ("proxy", "found"),
    [
        (f"user:{PASSWORD}@proxy.example:3128", f"http://user:{PASSWORD}@proxy.example:3128"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("https://proxy.example", "https://proxy.example"),
    ],
)
def test_a_proxy_without_a_scheme_is_reached_by_http(
    monkeypatch: pytest.MonkeyPatch, proxy: str, found: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert proxy_of("https://api.ksef.mf.gov.pl/v2") == found


@pytest.mark.parametrize(
    "proxy",
    [
        f"socks5://u:{PASSWORD}@h:1",
        f"u:{PASSWORD}@h:port",
        f"http://u:{PASSWORD}@",
        f"{PASSWORD}@:1",
    ],
)
def test_what_is_no_proxy_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY is no address") as refused:
        usable_proxy_of("https://api.ksef.mf.gov.pl/v2")
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "environment",
    [
        f"http://u:{PASSWORD}@ksef.example/v2",
        f"ftp://u:{PASSWORD}@h/v2",
        f"https://u:{PASSWORD}@h/v3",
    ],
)
def test_a_base_url_is_refused_without_showing_its_password(environment: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        base_url_of(environment)
    assert PASSWORD not in str(refused.value)


def test_a_base_url_is_kept_without_user_and_password() -> None:
    assert (
        base_url_of(f"https://u:{PASSWORD}@ksef.example:8443/v2/") == "https://ksef.example:8443/v2"
    )


@pytest.mark.parametrize("url", ["https://api.ksef.mf.gov.pl", "https://api.ksef.mf.gov.pl/"])
def test_a_base_url_without_its_version_says_what_to_write(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write https://api\.ksef\.mf\.gov\.pl/v2"):
        base_url_of(url)


# -- who is not KSeF is not talked to --------------------------------------------------------------


@contextmanager
def https(folder: Path, host: str) -> Iterator[int]:
    """Serve HTTPS with a certificate that nobody vouches for; yield the port."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(1))
        .not_valid_after(now + timedelta(1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    path = folder / "server.pem"
    path.write_bytes(key.private_bytes(pem, kind, plain) + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with listening(Seen, context) as port:
        yield port


class Seen(BaseHTTPRequestHandler):
    """Count what arrives, with its Authorization."""

    requests: list[str]
    location = ""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.requests.append(self.path)
        if self.location:
            body = json.dumps({"challenge": "x", "timestampMs": 1}).encode()
            self.send_response(302)
            self.send_header("Location", self.location)
            self.send_header("Content-Type", "application/json")
        else:
            body = b"{}"
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


class Quiet(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what these tests are about."""


@contextmanager
def listening(
    handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None
) -> Iterator[int]:
    with Quiet(("127.0.0.1", 0), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def refused_by(made: Stage, base_url: str) -> KsefError:
    box = made.box()
    client = KsefClient(base_url, made.logins()[0], clock=box)

    async def asked() -> None:
        async with client:
            await client.rate_limits()

    with box.loop() as loop, pytest.raises(KsefError) as refused:
        loop.run(asked())
    return refused.value


@pytest.mark.parametrize("host", ["localhost", "ksef.example"])
def test_a_certificate_that_nobody_vouches_for_is_refused(
    stage: Callable[..., Stage], tmp_path: Path, host: str
) -> None:
    Seen.requests, Seen.location = [], ""
    with https(tmp_path, host) as port:
        refused = refused_by(stage(taxpayers=1), f"https://localhost:{port}/v2")
    assert isinstance(refused, Unavailable)
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused)
    assert Seen.requests == []


def test_a_redirect_is_refused_and_not_followed(stage: Callable[..., Stage]) -> None:
    class Elsewhere(Seen):
        pass

    Seen.requests, Elsewhere.requests = [], []
    with listening(Elsewhere) as elsewhere, listening(Seen) as port:
        Seen.location = f"http://127.0.0.1:{elsewhere}/v2/auth/challenge"
        refused = refused_by(stage(taxpayers=1), f"http://127.0.0.1:{port}/v2")
    assert isinstance(refused, ContractViolation)
    assert "HTTP 302" in str(refused)
    assert Seen.requests
    assert Elsewhere.requests == []


def test_plain_http_is_refused_but_on_this_machine(stage: Callable[..., Stage]) -> None:
    with pytest.raises(ConfigurationError, match="plain HTTP"):
        KsefClient("http://ksef.example/v2", stage(taxpayers=1).logins()[0])
