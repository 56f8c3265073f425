"""A headless Chromium, driven over a pipe by its own DevTools protocol, without a driver."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of it. `complaints` are console messages and exceptions, `requests` are URLs."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._number = 0
        self._is_loaded = False
        self._session: dict[str, str] = {}
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._commands.close()
        self._answers.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result, keeping what happens in the meantime."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._commands.write(json.dumps(command).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            pass
        assert "result" in message, f"{method}: {message}"
        result: dict[str, Any] = message["result"]
        return result

    def _message(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            text += byte
        message: dict[str, Any] = json.loads(text)
        happened, about = message.get("method"), message.get("params", {})
        if happened == "Network.requestWillBeSent":
            url = about["request"]["url"]
            if not url.startswith("data:"):  # pictures inside the page
                self.requests.append(url)
        elif happened == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif happened == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.complaints.append(str(about["args"]))
        elif happened == "Page.loadEventFired":
            self._is_loaded = True
        elif happened == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])
        return message

    def open(self, page: Path, *, width: int = 1280, height: int = 900) -> None:
        """Open a file and wait until it is loaded and its scripts have run."""
        self.complaints.clear()
        self.requests.clear()
        self.resize(width, height)
        self._is_loaded = False
        self.call("Page.navigate", url=page.as_uri())
        while not self._is_loaded:
            self._message()

    def resize(self, width: int, height: int = 900, scale: float = 1) -> None:
        """Give the window another size, as on another device."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    def evaluate(self, expression: str) -> Any:
        """Run JavaScript on the page, wait for its promise, and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, file: Path, **clip: float) -> None:
        """Write a PNG of the page, or of the part x, y, width, height."""
        part = {"clip": {"scale": 1, **clip}} if clip else {}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, **part)
        file.write_bytes(b64decode(shot["data"]))


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Browser]:
    """Run Chromium, which reads commands from descriptor 3 and answers on 4."""
    from_us, commands = os.pipe()
    answers, to_us = os.pipe()
    arguments = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
        f"--user-data-dir={profile}", "--disable-dev-shm-usage",
    ]  # fmt: skip
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{from_us} 4>&{to_us}', "bash", *arguments],
        pass_fds=(from_us, to_us),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(from_us)
    os.close(to_us)
    try:
        with closing(Browser(commands, answers)) as browser:
            yield browser
    finally:
        process.terminate()
        process.wait(timeout=10)
