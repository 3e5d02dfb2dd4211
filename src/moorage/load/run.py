"""Starts the workers, gives them their parts, and adds up what they report."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec

from moorage import __version__
from moorage.load.histogram import Histogram
from moorage.load.plan import WARMED_UP, Go, Plan
from moorage.load.result import LATENCY, Result, Second, distribution, figures, server_figures, summary
from moorage.load.tally import REPORT_SECONDS, Report, Totals
from moorage.load.thresholds import Threshold
from moorage.load.watch import NotWatchable, Usage, usage

START_SECONDS: Final = 0.2
"""Seconds from the command until the load begins, so that all workers have read it."""
BUSY: Final = 0.9
"""Share of a core above which a worker's own delays are in its figures."""
_ANSWERED: Final = ("echo", "fanout", "jitter")
"""Scenarios in which the server has to do something with an event."""
LINE: Final = 4 * 1024 * 1024
EXIT_SECONDS: Final = 3.0
_LOADED: Final = 2
"""Readings of the server's usage when the load runs: before the first client, and before the load."""


class LoadError(Exception):
    """The load could not be made. The text says why, and what to do."""


@dataclass
class Progress:
    """The progress of the run. `seconds` is the time of the load so far, warm-up included."""

    plan: Plan
    phase: str = "connecting"
    seconds: float = 0.0
    connected: int = 0
    totals: Totals = field(default_factory=Totals)
    recent: Totals = field(default_factory=Totals)
    """The last whole second."""


Show = Callable[[Progress], None]


class Run:
    """One run. `show` is called after each report."""

    def __init__(
        self,
        plan: Plan,
        processes: int,
        thresholds: Sequence[Threshold] = (),
        pids: Sequence[int] = (),
        show: Show = lambda _: None,
    ) -> None:
        self._plan = plan if plan.scenario in WARMED_UP else msgspec.structs.replace(plan, warmup=0.0)
        self._processes = processes
        self._thresholds = thresholds
        self._pids = pids
        self._show = show
        self._workers: list[_Worker] = []
        self._progress = Progress(self._plan)
        self._by_second: dict[int, Totals] = {}
        self._connected_by_second: dict[int, int] = {}
        self._began = 0
        self._connected = 0
        self._watched: list[tuple[float, Usage]] = []
        self.interrupted = False

    async def __call__(self) -> Result:
        """Run it. Raises `LoadError`."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._watch()
        try:
            self._workers = await asyncio.gather(*map(self._start, range(self._processes)))
            await self._phases()
            await asyncio.wait(
                [asyncio.ensure_future(one.process.wait()) for one in self._workers], timeout=EXIT_SECONDS
            )
        finally:
            for worker in self._workers:
                worker.kill()
            await asyncio.gather(*(worker.process.wait() for worker in self._workers))
        return self._result(started)

    def stop(self) -> None:
        """End the load early. The figures until then are the result."""
        self.interrupted = True
        for worker in self._workers:
            worker.end()

    async def _start(self, number: int) -> _Worker:
        argv = [sys.executable, "-m", "moorage.load.worker", str(number)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE
        )
        worker = _Worker(number, process)
        worker.tell(self._plan.share(number, self._processes))
        return worker

    async def _phases(self) -> None:
        await self._until("ready")
        self._connected = self._progress.connected
        failed = self._progress.totals.counts["failed"]
        if not self._progress.totals.counts["connects"] and not self.interrupted:
            raise LoadError(_never_connected(self._plan, failed, self._progress.totals))
        self._watch()
        self._began = time.monotonic_ns() + int(START_SECONDS * 1e9)
        self._progress.phase = "warm-up"
        for worker in self._workers:
            worker.cpu_before = worker.cpu
            if not self.interrupted:
                worker.tell(Go(self._began))
        await self._until("done")
        if len(self._watched) == _LOADED:
            self._watch()

    async def _until(self, state: str) -> None:
        """Take reports until each worker has reported this state."""
        await asyncio.gather(*(self._listen(worker, state) for worker in self._workers))

    async def _listen(self, worker: _Worker, state: str) -> None:
        while True:
            report = await worker.report()
            self._take(worker, report)
            if report.state in (state, "done"):
                return

    def _take(self, worker: _Worker, report: Report) -> None:
        worker.took(report)
        progress = self._progress
        progress.connected = sum(one.connected for one in self._workers)
        progress.totals.add(report)
        if self._began:
            progress.seconds = max(0.0, (time.monotonic_ns() - self._began) / 1e9)
            # The report is about the time before it.
            second = int(max(0.0, progress.seconds - REPORT_SECONDS / 2))
            if second not in self._by_second:
                progress.recent = self._by_second.get(second - 1, progress.recent)
                self._by_second[second] = Totals()
            self._by_second[second].add(report)
            self._connected_by_second[second] = progress.connected
            progress.phase = self._phase(worker)
        self._show(progress)

    def _phase(self, worker: _Worker) -> str:
        seconds, late = self._progress.seconds, self._plan.warmup + self._plan.duration
        if seconds <= late:
            worker.loaded = (worker.cpu, seconds)
            return "warm-up" if seconds < self._plan.warmup else "load"
        if len(self._watched) == _LOADED:
            self._watch()
        return "waiting for the last"

    def _watch(self) -> None:
        if self._pids:
            try:
                self._watched.append((time.monotonic(), usage(self._pids)))
            except NotWatchable as error:
                if not self._watched:
                    raise LoadError(f"--server-pid: {error}") from None

    def _result(self, started: str) -> Result:
        plan, totals = self._plan, self._progress.totals
        measured = min(plan.duration, max(0.0, self._progress.seconds - plan.warmup))
        latency = totals.histograms["latency"] if plan.scenario in LATENCY else Histogram()
        result = Result(
            version=__version__,
            started=started,
            plan=plan.masked(),
            processes=self._processes,
            seconds_measured=measured,
            connected=self._connected,
            interrupted=self.interrupted,
            figures=figures(plan, totals, self._connected, measured),
            latency=summary(latency),
            connect=summary(totals.histograms["connect"]),
            lag=summary(totals.histograms["lag"]),
            distribution=distribution(latency),
            seconds=self._seconds(),
            errors=dict(sorted(totals.errors.items(), key=lambda item: -item[1])),
            generator_cpu=[worker.share() for worker in self._workers],
            server=self._server(),
            warnings=[],
            verdicts=[],
        )
        result.warnings = warnings(result)
        result.verdicts = [threshold.judge(result) for threshold in self._thresholds]
        return result

    def _seconds(self) -> list[Second]:
        last = int(self._plan.warmup + self._plan.duration)
        found = []
        for second, totals in self._by_second.items():
            latency = summary(totals.histograms["latency"])
            if second <= last or totals.counts["received"] or latency:
                row = Second(
                    second=second,
                    connected=self._connected_by_second[second],
                    rate=totals.counts["received"],
                    p50=latency.get("p50", 0.0),
                    p99=latency.get("p99", 0.0),
                    max=latency.get("max", 0.0),
                    disconnects=totals.counts["disconnects"],
                )
                found.append(row)
        return found

    def _server(self) -> dict[str, float]:
        if len(self._watched) <= _LOADED:
            return {}
        (_, first), (began, before), (ended, after) = self._watched
        used = Usage(after.cpu - before.cpu, after.memory)
        return server_figures(first, used, ended - began, self._connected)


class _Worker:
    """A worker's process, and what it has reported last."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.connected = 0
        self.cpu = 0.0
        self.cpu_before = 0.0
        self.loaded = (0.0, 0.0)
        """CPU and time of the load at the last report within it."""
        self._number = number

    def tell(self, message: Plan | Go) -> None:
        """Write one line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(message) + b"\n")

    def end(self) -> None:
        """Ask it to end its load and to report."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def report(self) -> Report:
        """Its next report. Raises `LoadError` if it has died."""
        assert self.process.stdout is not None and self.process.stderr is not None
        line = await self.process.stdout.readline()
        if line:
            return msgspec.json.decode(line, type=Report)
        told = (await self.process.stderr.read()).decode("utf-8", "replace").strip().splitlines()
        raise LoadError(told[-1] if told else f"load process {self._number} has died")

    def took(self, report: Report) -> None:
        """Keep what is not added up."""
        self.connected = report.connected
        self.cpu = report.cpu

    def share(self) -> float:
        """The share of a core that it used during the load."""
        cpu, seconds = self.loaded
        return (cpu - self.cpu_before) / seconds if seconds > 0 else 0.0

    def kill(self) -> None:
        """End the process, if it has not ended."""
        if self.process.returncode is None:
            self.process.kill()


def _never_connected(plan: Plan, failed: int, totals: Totals) -> str:
    most = max(totals.errors.items(), key=lambda item: item[1], default=("no connect was tried", 0))[0]
    hint = ""
    if any(sign in most for sign in ("HTTP 404", "HTTP 400", "no Engine.IO")):
        hint = f"; is {plan.path} the server's path (--path)?"
    elif "CERTIFICATE" in most.upper():
        hint = "; --insecure accepts any certificate"
    return f"none of the first {failed} clients could connect to {plan.url}: {most}{hint}"


def warnings(result: Result) -> list[str]:
    """Reasons why the figures may not be those of the server."""
    found = []
    busiest = max(result.generator_cpu, default=0.0)
    if busiest > BUSY:
        found.append(
            f"a load process used {busiest:.0%} of a core, so its own delays are in the figures: use more "
            "--processes, or less load"
        )
    if result.lag.get("p99", 0.0) > 10.0:
        late = f"{result.lag['p99']:.0f} ms"
        found.append(f"1 % of the events were sent over {late} late by the load tester itself")
    if result.figures.get("sent") and not result.figures["received"] and result.plan.scenario in _ANSWERED:
        does = "acknowledge it" if result.plan.scenario == "echo" else "send its text to all clients"
        found.append(
            f'nothing came back: the server has to handle the event "{result.plan.event}" and {does}'
        )
    return found
