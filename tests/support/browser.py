"""Headless Chromium, spoken to over its pipe (Chrome DevTools Protocol): messages are JSON that ends in a zero byte."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

__all__ = ["Page", "opened"]

_LONGEST_S = 120


@dataclass
class Page:
    """One page in a browser."""

    reading: int
    writing: int
    session: str | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _rest: bytes = b""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command; events meanwhile are left out."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def value(self, script: str) -> Any:
        """What an expression is in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told, in order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")))
            for node in nodes
            if not node.get("ignored")
        ]

    def _message(self) -> bytes:
        while b"\0" not in self._rest:
            data = os.read(self.reading, 1 << 20)
            assert data, "the browser has ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return message


@contextmanager
def opened(path: Path, folder: Path, *, width: int = 1280, dark: bool = False) -> Iterator[Page]:
    """``path`` in a browser window of that width; its profile lies in ``folder``."""
    reading, there = os.pipe()
    here, writing = os.pipe()
    # The browser reads commands from descriptor 3 and writes answers to 4.
    script = f'exec 3<&{here} 4>&{there}; exec chromium --headless=new --no-sandbox --disable-gpu "$@"'
    options = [f"--user-data-dir={folder}", "--remote-debugging-pipe", f"--window-size={width},1000", "about:blank"]
    process = subprocess.Popen(
        ["timeout", str(_LONGEST_S), "bash", "-c", script, "browser", *options],
        pass_fds=(here, there),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(here)
    os.close(there)
    page = Page(reading, writing)
    try:
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[theme])
        page.call("Page.navigate", url=path.as_uri())
        while page.value("document.readyState") != "complete" or page.value("location.protocol") != "file:":
            pass
        yield page
    finally:
        page.session = None
        os.write(writing, json.dumps({"id": 999_999, "method": "Browser.close"}).encode() + b"\0")
        process.wait(30)
        os.close(reading)
        os.close(writing)
