"""(otel): acked round trips with OpenTelemetry off, with one event in a hundred sampled, and with all of
them. The collector is a process that reads and answers; its CPU is not counted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from typing import Final

from bench.cluster.fan_out import measured
from bench.fastloop import fast_round_trips
from bench.figures import Bar, Figure, Rounds
from bench.measures import EVENT
from bench.process import Process
from bench.run import Joined, Run
from bench.servers import HOST, MOORAGE, Start, Target, app, environment, free_port, moorage, node, service

_CLIENTS: Final = 100
_COLLECTOR: Final = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *given): pass
server = ThreadingHTTPServer(("127.0.0.1", PORT), Collector)
print("ready", flush=True)
server.serve_forever()
"""
_OFF: Final = f"{MOORAGE} off"
_SAMPLED: Final = f"{MOORAGE} sampled"
_ALL: Final = f"{MOORAGE} all"
_TITLES: Final = {_OFF: "off", _SAMPLED: "1 % sampled", _ALL: "all sampled"}


def _with_telemetry(ratio: float) -> Start:
    @contextmanager
    def start(logs: Path, clients: int) -> Iterator[Target]:
        port = free_port()
        code = _COLLECTOR.replace("PORT", str(port))
        collector = Process([sys.executable, "-c", code], log=logs / "collector.log")
        try:
            collector.wait_line(lambda line: line or None)
            env = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{port}",
                "OTEL_TRACES_SAMPLER": "traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": str(ratio),
                # An export at least in each window: with the default of 5 s most would be between them.
                "OTEL_BSP_SCHEDULE_DELAY": "500",
            }
            with (
                service(logs, env={**environment(), **env}) as (process, address, string),
                app(logs, node("app/sdk.mjs"), string) as beside,
            ):
                yield Target(MOORAGE, address, process, beside, repeat(beside))
        finally:
            collector.stop()

    return start


def telemetry(run: Run) -> list[Figure]:
    """(otel) Acked round trips of 100 clients through our Node.js SDK, which has OpenTelemetry's API."""

    def once(joined: Joined) -> dict[str, float]:
        before = joined.target.clocks()
        seconds = run.plan.pair_seconds
        done = fast_round_trips(joined.fleet, _CLIENTS, seconds=seconds, size=EVENT, build=run.logs)
        return {**measured(joined, len(done.latencies), before), "p50": done.quantile(0.50) / 1000}

    starts = {_OFF: moorage(node("app/sdk.mjs")), _SAMPLED: _with_telemetry(0.01), _ALL: _with_telemetry(1.0)}
    rounds = Rounds()
    for _ in range(run.plan.pair_starts):
        with ExitStack() as stack:
            joined = run.connect(stack, "otel", _CLIENTS, starts=starts)
            rounds.extend(
                run.alternate("otel", joined, once, count=max(1, run.plan.pairs // run.plan.pair_starts))
            )
    return [
        _ratio(rounds, _SAMPLED, Bar(1.05)),
        _ratio(rounds, _ALL),
        *(_plain(rounds, "service", "CPU of the service per round trip", name) for name in _TITLES),
        *(_plain(rounds, "p50", "round trip p50", name) for name in _TITLES),
    ]


def _ratio(rounds: Rounds, name: str, *bars: Bar) -> Figure:
    found = rounds.of("service")
    pairs = zip(found.get(name, ()), found.get(_OFF, ()), strict=False)
    title = f"CPU of the service per round trip, {_TITLES[name]} to off"
    return Figure("otel", title, "x", {MOORAGE: [one / off for one, off in pairs]}, bars)


def _plain(rounds: Rounds, key: str, what: str, name: str) -> Figure:
    return Figure("otel", f"{what}, {_TITLES[name]}", "us", {MOORAGE: rounds.of(key).get(name, ())})
