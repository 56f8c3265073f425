"""A WSGI application on a loopback socket, as far away as one likes.

Connections may be kept open, so a client's pool has them for good: a thread for each, which
waits most of its time. werkzeug's own server closes every connection after one answer.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler

from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HOST = "127.0.0.1"
IDLE_S = 60
"""A connection that nobody used for so long is closed, and its thread ends."""


class _Server(ThreadingTCPServer):
    """Know the open connections, to close them at the end."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, app: WSGIApplication, port: int, latency_s: float, keeps: bool) -> None:
        self.app = app
        self.latency_s = latency_s
        self.keeps = keeps
        self.connections: set[Any] = set()
        super().__init__((HOST, port), _Handler)
        self.port = int(self.server_address[1])
        self.base_environ = {
            "SERVER_NAME": HOST,
            "SERVER_PORT": str(self.port),
            "SCRIPT_NAME": "",
            "wsgi.url_scheme": "http",
        }

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what is wrong with the emulator, not that a client hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for connection in self.connections.copy():
            # Its own thread may have been faster.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    """Answer the requests of one connection, one after the other."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S
    wbufsize = -1

    # The class between answers one request and closes.
    handle = BaseHTTPRequestHandler.handle

    def do_GET(self) -> None:
        # The whole body is read before the answer, so the next request follows it.
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.server.latency_s)
        # A proxy is asked by whole addresses: what a client takes for KSeF's host is served here.
        self.path = re.sub(r"^http://[^/]*", "", self.path)
        environ = {**self.get_environ(), "wsgi.input": BytesIO(body)}
        try:
            response = Response.from_app(self.server.app, environ, buffered=True)
        except ConnectionError:  # a fault
            self.close_connection = True
        else:
            self._send(response)

    do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = do_GET

    def _send(self, response: Response) -> None:
        """Send an answer with no Date of the machine's: the emulator's have their own."""
        body = response.get_data()
        self.send_response_only(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if not self.server.keeps:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if self.command != "HEAD" and len(body) < int(response.headers["Content-Length"]):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve(
    app: WSGIApplication, port: int = 0, *, latency_s: float = 0.0, keeps_connections: bool = False
) -> Iterator[str]:
    """Serve on 127.0.0.1 in a thread and yield the base URL; port 0 takes a free one.

    Each answer is sent `latency_s` real seconds late, however many are asked for at once. With
    `keeps_connections` a connection serves until the client closes it, as KSeF's do; without,
    a client that closes nothing leaks nothing.
    """
    server = _Server(app, port, latency_s, keeps_connections)
    # The default poll of half a second would delay the stop.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}/v2"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
