"""A headless Chromium that tests drive by its DevTools protocol, over a pair of pipes."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-pipe"
)


class Tab:
    """One page in the browser."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._rest = b""
        self._number = 0
        self._session = ""
        self.trouble: list[str] = []
        """What the page complained about."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.ask("Runtime.enable")
        self.ask("Log.enable")

    def ask(self, method: str, **params: Any) -> Any:
        """Calls a method of the protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}:
                self.trouble.append(json.dumps(answer["params"]))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _receive(self) -> Any:
        while b"\0" not in self._rest:
            more = os.read(self._from, 1 << 16)
            assert more, "the browser is gone"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def show(self, url: str, *, width: int, height: int = 844, scheme: str = "light") -> None:
        """Opens an address in a window of that size."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)
        self.ask("Page.navigate", url=url)

    def leave(self) -> None:
        """Closes what is shown, which otherwise goes on to ask its server."""
        self.ask("Page.navigate", url="about:blank")
        self.until("location.href == 'about:blank'")

    def value(self, script: str) -> Any:
        """What a script comes to in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str, *, seconds: float = 30.0) -> None:
        """Waits until a script comes to something true."""
        deadline_s = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < deadline_s, f"never true: {script}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Presses a key, by the name that scripts know it by."""
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "Home": 36, "Escape": 27}
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key])


@contextmanager
def a_tab(profile: Path) -> Iterator[Tab]:
    """A browser with one tab; its files are in `profile`."""
    assert CHROMIUM is not None
    (its_in, to_browser), (from_browser, its_out) = os.pipe(), os.pipe()
    # The browser reads descriptor 3 and writes descriptor 4.
    command = f'exec "$0" "$@" 3<&{its_in} 4>&{its_out}'
    browser = subprocess.Popen(
        ["bash", "-c", command, CHROMIUM, *_FLAGS.split(), f"--user-data-dir={profile}"],
        pass_fds=(its_in, its_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(its_in)
    os.close(its_out)
    try:
        yield Tab(to_browser, from_browser)
    finally:
        browser.terminate()
        browser.wait(10.0)
        os.close(to_browser)
        os.close(from_browser)
