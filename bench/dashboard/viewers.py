"""Browsers with an open dashboard, as the service sees them: the same requests at the same times."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Final

from bench.errors import BenchError
from bench.servers import HOST

OVERVIEW: Final = ("history", "nodes")
"""What the overview asks for at each refresh. A test in Chromium holds this list to the page."""
REFRESH_SECONDS: Final = 5.0


class Viewer:
    """One browser: a kept connection and a session."""

    def __init__(self, port: int, key: str) -> None:
        self._http = http.client.HTTPConnection(HOST, port, timeout=30)
        self._headers = {"X-Moorage-Admin": "1", "Content-Type": "application/json"}
        self._http.request("POST", "/dashboard/session", json.dumps({"key": key}), self._headers)
        answer = self._http.getresponse()
        answer.read()
        cookie = answer.getheader("set-cookie")
        if answer.status != 200 or cookie is None:
            self.close()
            raise BenchError(f"no session: {answer.status}")
        self._headers = {"Cookie": cookie.partition(";")[0], "Accept-Encoding": "gzip"}

    def ask(self, path: str) -> tuple[bytes, float]:
        """The body of a path of the Admin API, and the seconds it took. Raises `BenchError`."""
        began = time.perf_counter()
        self._http.request("GET", f"/api/v1/{path}", headers=self._headers)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise BenchError(f"{path}: {answer.status} {body[:200]!r}")
        return body, time.perf_counter() - began

    def close(self) -> None:
        """End the connection."""
        self._http.close()


class Viewers:
    """Open dashboards that refresh in turn, spread over the time between two refreshes. A context manager;
    they are asleep until `watch`, and after `rest`."""

    def __init__(self, port: int, key: str, count: int) -> None:
        self._viewers = [Viewer(port, key) for _ in range(count)]
        self._awake = threading.Event()
        self._asleep = threading.Event()
        self._asleep.set()
        self._over = False
        self._problem = ""
        self.refreshes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Viewers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._awake.set()
        self._thread.join(timeout=30)
        for viewer in self._viewers:
            viewer.close()

    def watch(self) -> None:
        """Begin to refresh, the first one at once."""
        self._asleep.clear()
        self._awake.set()

    def rest(self) -> None:
        """Stop, after what is under way. Raises `BenchError` if a request has failed."""
        self._awake.clear()
        self._asleep.wait(30)
        if self._problem:
            raise BenchError(self._problem)

    def _run(self) -> None:
        pause = REFRESH_SECONDS / len(self._viewers)
        while self._awake.wait() and not self._over:
            due = time.monotonic()
            at = 0
            while self._awake.is_set() and not self._problem:
                if (left := due - time.monotonic()) > 0:
                    time.sleep(min(left, 0.05))
                    continue
                self._refresh(self._viewers[at % len(self._viewers)])
                at += 1
                due += pause
            self._asleep.set()

    def _refresh(self, viewer: Viewer) -> None:
        try:
            for path in OVERVIEW:
                viewer.ask(path)
            self.refreshes += 1
        except (OSError, http.client.HTTPException, BenchError) as error:
            self._problem = f"a dashboard got no answer: {error}"
