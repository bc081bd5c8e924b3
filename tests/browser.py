"""A headless Chromium, driven over a pipe by its own protocol; no package is needed for it."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)
_PATIENCE = 120  # seconds for one answer, on a busy machine


class Browser:
    """A browser with one page at a time, and what that page complained of and asked for."""

    def __init__(self, profile: Path) -> None:
        into, mine = os.pipe()
        theirs, out = os.pipe()
        # Chromium reads at 3 and writes at 4; above 9 nothing else is in their way.
        into, out = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (into, out))
        shell = f'exec "$0" "$@" 3<&{into} 4>&{out} 2>/dev/null'
        command = ["bash", "-c", shell, str(BROWSER), *_OPTIONS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(command, pass_fds=(into, out))
        os.close(into)
        os.close(out)
        self._write, self._read = mine, theirs
        self._pending, self._number = b"", 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def open(self, path: Path, *, width: int = 1280, scheme: str = "light") -> None:
        """Show a page, in a window of a width, and wait until its figures are drawn."""
        self._session = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.complaints, self.requests = [], []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **size)
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self._ask("Emulation.setEmulatedMedia", features=media)
        self._ask("Emulation.setFocusEmulationEnabled", enabled=True)
        driver = Path(__file__).with_name("driver.js").read_text()
        self._ask("Page.addScriptToEvaluateOnNewDocument", source=driver)
        self._ask("Page.navigate", url=path.as_uri())
        self.run("await drawn();")

    def run(self, script: str) -> Any:
        """What a script returns that runs in the page."""
        expression = f"(async () => {{ {script} }})()"
        answer = self._ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def close(self) -> None:
        """End the browser."""
        self._session = None
        self._ask("Browser.close")
        self._process.wait(_PATIENCE)
        os.close(self._write)
        os.close(self._read)

    def _ask(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == self._number:
                assert "error" not in heard, heard
                return heard["result"]
            self._note(heard.get("method"), heard.get("params", {}))

    def _note(self, event: str | None, about: Mapping[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(about["args"]))
        elif event == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            url = about["request"]["url"]
            self.requests += [] if url.startswith("data:") else [url]

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._read], [], [], _PATIENCE)
            assert ready, "the browser does not answer"
            self._pending += os.read(self._read, 1 << 16)
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)
