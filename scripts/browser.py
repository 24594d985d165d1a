"""A headless Chromium, driven over its DevTools protocol through a pipe. scripts/check_ui.py uses it.

It needs nothing but Python: a message is JSON that ends in a zero byte.
"""

import base64
import contextlib
import fcntl
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ANSWER_SECONDS_MAX = 30
WAIT_SECONDS_MAX = 10
# What keys are called: the code and the text that each types.
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), "Backspace": (8, "")}
SHIFT = 8
# Runs before the scripts of the page, and sees what the policy of the page stops.
WATCH_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


class BrowserError(Exception):
    """The browser, or a script in it, failed."""


class Browser:
    """A running Chromium."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._commands = _pipe()
        self._answers, from_browser = _pipe()
        arguments = [program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        # A page of the test is no danger, and root in a container cannot have a sandbox.
        arguments += ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]

        def take_pipes() -> None:
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        log = (profile / "log").open("wb")
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=take_pipes, pass_fds=(3, 4)
        )
        os.close(to_browser)
        os.close(from_browser)
        self._next_id = 0
        self._results: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Sends a command and returns its result."""
        self._next_id += 1
        number, result = self._next_id, queue.Queue[dict[str, Any]]()
        self._results[number] = result
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        try:
            answer = result.get(timeout=ANSWER_SECONDS_MAX)
        except queue.Empty:
            raise BrowserError(f"{method}: no answer within {ANSWER_SECONDS_MAX} s") from None
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    @contextlib.contextmanager
    def page(self, width: int = 1280, height: int = 860) -> Iterator["Page"]:
        """A new tab in a profile of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        size = {"width": width, "height": height}
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context, **size)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        page.prepare(width, height)
        try:
            yield page
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)
            del self._pages[session]

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        rest = b""
        while chunk := os.read(self._answers, 1 << 20):
            *messages, rest = (rest + chunk).split(b"\0")
            for text in messages:
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._results.pop(message["id"]).put(message)
        elif page := self._pages.get(message.get("sessionId", "")):
            page.take_event(message["method"], message["params"])


class Page:
    """A tab. It remembers the addresses that it asked and the faults that it reported."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self._is_painted = False
        self.asked: list[str] = []
        self.faults: list[str] = []

    def call(self, method: str, **parameters: Any) -> Any:
        return self._browser.call(method, self._session, **parameters)

    def prepare(self, width: int, height: int) -> None:
        for domain in ["Page", "Network", "Runtime", "Log", "Accessibility"]:
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH_VIOLATIONS)
        # Without it only one of several tabs has the focus.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.resize(width, height)

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def take_event(self, method: str, event: dict[str, Any]) -> None:
        """Remembers what a test may have to complain about."""
        if method == "Network.requestWillBeSent":
            self.asked.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.faults.append(f"console.{event['type']}: {event['args']}")
        # Statuses of the API are errors of the network to the console.
        elif method == "Log.entryAdded" and event["entry"]["source"] != "network":
            self.faults.append(event["entry"]["text"])

    def go(self, url: str) -> None:
        self._is_painted = False
        self.call("Page.navigate", url=url)

    def _wait_for_paint(self) -> None:
        """Waits for two frames: before the first one a browser drops what is typed."""
        if not self._is_painted:
            self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            self._is_painted = True

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(f"{script}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = WAIT_SECONDS_MAX) -> None:
        """Waits until an expression holds."""
        deadline = time.monotonic() + seconds
        while True:
            # While a page is loaded there may be none to ask.
            with contextlib.suppress(BrowserError):
                if self.run(f"Boolean({script})"):
                    return
            if time.monotonic() > deadline:
                text = self.run("document.body?.innerText ?? ''")[:1500]
                raise BrowserError(f"not within {seconds} s: {script}\nThe page says:\n{text}")
            time.sleep(0.02)

    def wait_text(self, text: str, selector: str = "body") -> None:
        """Waits until an element shows a text."""
        self.wait(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})")

    def click(self, selector: str) -> None:
        """Clicks with the mouse in the middle of an element."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"{element}?.checkVisibility() && !{element}.disabled")
        x, y = self.run(
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        for kind in ["mousePressed", "mouseReleased"]:
            self.call("Input.dispatchMouseEvent", type=kind, **at)

    def type(self, text: str) -> None:
        """Types a text where the focus is."""
        self._wait_for_paint()
        self.call("Input.insertText", text=text)

    def press(self, key: str, modifiers: int = 0) -> None:
        self._wait_for_paint()
        code, text = KEYS.get(key, (ord(key.upper()[0]), key))
        event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def fill(self, selector: str, text: str) -> None:
        """Replaces what a field holds."""
        self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select(); }})()")
        if text:
            self.type(text)
        else:
            self.press("Backspace")

    def prefer(self, scheme: str) -> None:
        """What the system prefers: "dark" or "light"."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are not the two that the browser takes."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
