"""The emulator on a loopback socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from ksef_emulator.app import Emulator

HOST = "127.0.0.1"


class _QuietHandler(WSGIRequestHandler):
    """Log nothing, and really drop dropped connections."""

    def log(self, type: str, message: str, *args: Any) -> None:
        pass

    def send_response(self, code: int, message: str | None = None) -> None:
        """Send no Date of the machine's: the emulator's answers have their own."""
        self.send_response_only(code, message)

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True


@contextmanager
def serve(app: Emulator, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 in a thread and yield the base URL; port 0 takes a free one."""
    server = make_server(HOST, port, app, threaded=True, request_handler=_QuietHandler)
    # The default poll of half a second would delay the stop.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/v2"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
