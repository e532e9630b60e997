"""A headless Chromium that tests click in, over the pipe of its DevTools protocol: neither driver nor port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
)
PATIENCE_S = 60
Json = dict[str, Any]


class Browser:
    """One browser with one page."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._rest, self._number = to_browser, from_browser, b"", 0
        self._session = ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Json:
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _read(self) -> Json:
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], PATIENCE_S)[0], "the browser does not answer"
            self._rest += os.read(self._from, 1 << 20)
        line, _, self._rest = self._rest.partition(b"\0")
        message: Json = json.loads(line)
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"]["text"])
        return message

    def evaluate(self, expression: str) -> Any:
        """The value of an expression on the page, awaited."""
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Ask until an expression is true."""
        end = time.monotonic() + PATIENCE_S
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"{expression} never came true; {self.complaints}"
            time.sleep(0.02)

    def open(self, path: Path, fragment: str = "", width: int = 1280, height: int = 900, scale: float = 1) -> None:
        self.resize(width, height, scale)
        self.ask("Page.navigate", url="about:blank")
        self.complaints.clear()
        self.ask("Page.navigate", url=path.as_uri() + fragment)
        self.wait_for("document.readyState === 'complete'")

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        mobile = width < 600
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )

    def find(self, selector: str, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
        """Where in the window a place of an element is, which is scrolled into view."""
        code = f"""(() => {{ const one = document.querySelector({selector!r});
        one.scrollIntoView({{ block: "nearest" }}); const box = one.getBoundingClientRect();
        return [box.left + {x} * box.width, box.top + {y} * box.height]; }})()"""
        left, top = self.evaluate(code)
        return left, top

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """Press and let go of the mouse, where a user would."""
        self.drag(self.find(selector, x, y))

    def drag(self, *places: tuple[float, float]) -> None:
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def choose(self, selector: str, value: str, event: str = "change") -> None:
        """Set a select or an input, as its user does."""
        code = f"""(() => {{ const one = document.querySelector({selector!r}); one.value = {value!r};
        one.dispatchEvent(new Event({event!r}, {{ bubbles: true }})); }})()"""
        self.evaluate(code)

    def download(self, folder: Path, selector: str, name: str) -> bytes:
        """Click what offers a file, and read the file."""
        self.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.click(selector)
        end = time.monotonic() + PATIENCE_S
        while not (folder / name).is_file():
            assert time.monotonic() < end, f"{name} never came"
            time.sleep(0.02)
        return (folder / name).read_bytes()

    def photograph(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen as PNG."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def start_browser(profile: Path) -> Iterator[Browser]:
    """Start Chromium with a profile of its own; it ends with the block."""
    assert CHROMIUM is not None
    (read_ours, write_theirs), (read_theirs, write_ours) = os.pipe(), os.pipe()
    line = f'exec "$0" {FLAGS} --user-data-dir="$1" 3<&{read_theirs} 4>&{write_theirs}'
    with (profile.parent / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", line, CHROMIUM, str(profile)], pass_fds=(read_theirs, write_theirs), stdout=log, stderr=log
        )
    for one in (read_theirs, write_theirs):
        os.close(one)
    try:
        browser = Browser(write_ours, read_ours)
        yield browser
        browser.ask("Browser.close")
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        for one in (read_ours, write_ours):
            os.close(one)
