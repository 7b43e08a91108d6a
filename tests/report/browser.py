"""A real browser for looking at pages: Debian's chromium, spoken to by the WebDriver protocol.

`python -m tests.report.browser PAGE FOLDER` (`make screenshots`) writes what a laptop and a phone
show of a page, light and dark, and says what the page complained of.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIZES = {"laptop": (1440, 900), "phone": (390, 844)}
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--allow-file-access-from-files",
)  # fmt: skip


def missing() -> str:
    """Why there is no browser; empty where there is one."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(lacking)} here" if lacking else ""


class Browser:
    """One page in one window."""

    def __init__(self, port: int, folder: str) -> None:
        self._root = f"http://127.0.0.1:{port}"
        options = {
            "binary": shutil.which("chromium"),
            "args": [*ARGUMENTS, f"--user-data-dir={folder}"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def _send(self, method: str, path: str, value: Any = None) -> Any:
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"{self._root}{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def devtools(self, command: str, **values: Any) -> Any:
        done = {"cmd": command, "params": values}
        return self._send("POST", f"{self._session}/goog/cdp/execute", done)

    def show(self, page: Path, size: tuple[int, int], *, dark: bool = False) -> None:
        width, height = size
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])
        self._send("POST", f"{self._session}/url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        return self._send("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def complaints(self) -> list[str]:
        log = self._send("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in log]

    def picture(self, path: Path, *, top: float = 0, height: float | None = None) -> None:
        """What is on the screen, or so much of the page from ``top`` on."""
        values: dict[str, Any] = {"format": "png"}
        if height is not None:
            width = self.run("return document.documentElement.clientWidth")
            values |= {
                "captureBeyondViewport": True,
                "clip": {"x": 0, "y": top, "width": width, "height": height, "scale": 1},
            }
        path.write_bytes(
            base64.b64decode(self.devtools("Page.captureScreenshot", **values)["data"])
        )

    def close(self) -> None:
        self._send("DELETE", self._session)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="mbo-browser-", ignore_cleanup_errors=True) as folder:
        driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port)
            window = Browser(port, folder)
            try:
                yield window
            finally:
                window.close()
        finally:
            driver.terminate()
            driver.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("chromedriver does not answer")


def screenshots(page: Path, folder: Path) -> list[str]:
    """Pictures of a page, screen by screen; returns its complaints."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as window:
        for name, (width, height) in SIZES.items():
            for dark in (False, True):
                window.show(page, (width, height), dark=dark)
                total = window.run("return document.documentElement.scrollHeight")
                screens = -(-total // (2 * height))
                for i in range(screens):
                    top = i * 2 * height
                    file = f"{name}-{'dark' if dark else 'light'}-{i + 1}.png"
                    window.picture(folder / file, top=top, height=min(2 * height, total - top))
        return window.complaints()


if __name__ == "__main__":
    if missing():
        print(f"no screenshots: {missing()}")
        sys.exit(0)
    complaints = screenshots(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"screenshots in {sys.argv[2]}")
    print("\n".join(complaints))
    sys.exit(1 if complaints else 0)
