from __future__ import annotations

import json
from collections.abc import Callable

from starlette.applications import Starlette

from moorage.control.ops import routes
from tests.support.asgi import ask


def build(not_ready: Callable[[], str] = lambda: "", metrics: Callable[[], bytes] | None = None) -> Starlette:
    return Starlette(routes=list(routes(not_ready=not_ready, metrics=metrics)))


async def test_alive_whatever_readiness_says() -> None:
    answer = await ask(build(lambda: "draining"), "/healthz")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"


async def test_ready_follows_the_service() -> None:
    why = "starting"
    app = build(lambda: why)
    answer = await ask(app, "/readyz")
    assert (answer.status, json.loads(answer.body)) == (503, {"status": "unavailable", "reason": "starting"})
    why = ""
    answer = await ask(app, "/readyz")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
    why = "draining"
    assert (await ask(app, "/readyz")).status == 503


async def test_metrics_are_asked_for_at_each_scrape() -> None:
    scrapes = iter([b"a 1\n", b"a 2\n"])
    app = build(metrics=lambda: next(scrapes))
    answer = await ask(app, "/metrics")
    assert (answer.status, answer.body) == (200, b"a 1\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (await ask(app, "/metrics")).body == b"a 2\n"


async def test_no_metrics_where_they_are_switched_off() -> None:
    assert (await ask(build(), "/metrics")).status == 404


async def test_head_and_other_methods() -> None:
    app = build(metrics=lambda: b"a 1\n")
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await ask(app, path, "HEAD")).status == 200
        assert (await ask(app, path, "POST")).status == 405


class Two:
    """Two workers."""

    def states(self) -> dict[str, str]:
        return {"one": "ready", "two": "restarting"}

    async def scrape(self) -> bytes:
        return b"of both"


async def test_a_worker_answers_for_all() -> None:
    why = ""
    app = Starlette(routes=routes(not_ready=lambda: why, metrics=lambda: b"own", siblings=Two()))
    workers = {"one": "ready", "two": "restarting"}
    answer = await ask(app, "/readyz")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok", "workers": workers})
    why = "no-nats"
    answer = await ask(app, "/readyz")
    expected = {"status": "unavailable", "reason": "no-nats", "workers": workers}
    assert (answer.status, json.loads(answer.body)) == (503, expected)
    assert (await ask(app, "/metrics")).body == b"of both"
    assert (await ask(app, "/metrics", "HEAD")).status == 200
    hidden = Starlette(routes=routes(not_ready=lambda: "", metrics=None, siblings=Two()))
    assert (await ask(hidden, "/metrics")).status == 404
