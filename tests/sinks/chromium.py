"""A real headless Chromium, driven over its DevTools protocol: as much of it as the console's tests need."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--mute-audio"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"),
)


def program() -> str | None:
    """The browser's path; None where there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Chromium:
    """A browser with one tab. Every method blocks; what the page said and asked for is collected."""

    def __init__(self, path: str, folder: Path) -> None:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        with (folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [path, *_FLAGS, *root, f"--user-data-dir={folder / 'profile'}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": "/tmp"},  # the engine in this process has set one too long for a socket's path
            )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._numbers = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        #: Console messages, exceptions and log entries of level warning and above.
        self.complaints: list[str] = []
        #: Addresses that were asked for.
        self.requests: list[str] = []
        port_file = folder / "profile" / "DevToolsActivePort"
        until = time.monotonic() + 90
        while not (port_file.exists() and len(port_file.read_text().splitlines()) == 2):
            assert self._process.poll() is None, (folder / "chromium.log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, "Chromium did not start"
            time.sleep(0.05)
        self._run(self._connect(int(port_file.read_text().split()[0])))
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _run(self, work: Coroutine[Any, Any, Any], seconds: float = 90.0) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    async def _connect(self, port: int) -> None:
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            targets = await answer.json()
        address = next(one["webSocketDebuggerUrl"] for one in targets if one["type"] == "page")
        self._socket = await self._session.ws_connect(address, max_msg_size=0)
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            data = json.loads(message.data)
            if "id" in data:
                self._answers.pop(data["id"]).set_result(data)
            else:
                self._event(data["method"], data["params"])

    def _event(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled" and params["type"] in ("warning", "error", "assert"):
            self.complaints.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the protocol."""

        async def ask() -> Any:
            self._numbers += 1
            answer = self._answers[self._numbers] = self._loop.create_future()
            await self._socket.send_json({"id": self._numbers, "method": method, "params": params})
            return await answer

        answer = self._run(ask())
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def value(self, script: str) -> Any:
        """What an expression gives; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 60.0) -> Any:
        """Waits until an expression is truthy, and gives it. That it fails meanwhile is no matter: pages come and go."""
        until = time.monotonic() + seconds
        while True:
            result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
            value = result["result"].get("value")
            if value and "exceptionDetails" not in result:
                return value
            if time.monotonic() > until:
                last = result.get("exceptionDetails", value)
                raise AssertionError(f"{script} did not come about: {last}, {self.complaints}, {self.value('location.href')}")
            time.sleep(0.05)

    def screen(self, width: int, height: int = 900, *, dark: bool = False, language: str = "en-US") -> None:
        """The window's size, the system's colours, the user's language; for the page that is opened next."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Emulation.setLocaleOverride", locale=language.replace("-", "_"))
        agent = self.value("navigator.userAgent")
        self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)

    def open(self, address: str) -> None:
        """Goes there, with user and password if the address has any; what was collected before is forgotten."""
        self.call("Page.navigate", url="about:blank")
        self.complaints.clear()
        self.requests.clear()
        self.call("Page.navigate", url=address)
        shown = re.sub(r"(?<=//)[^/@]*@", "", address)
        self.wait(f"location.href.startsWith({json.dumps(shown)}) && document.readyState === 'complete'")

    def press(self, key: str) -> None:
        """A key, by its name in the DOM."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        text = {"Enter": "\r", " ": " "}.get(key, "")
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    async def _disconnect(self) -> None:
        await self._socket.close()
        await self._session.close()
        self._reader.cancel()

    def close(self) -> None:
        """Ends the browser."""
        self._run(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
