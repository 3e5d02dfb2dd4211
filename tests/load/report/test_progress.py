"""The line while a run lasts."""

from __future__ import annotations

import io
from typing import Any

from moorage.load.plan import Plan
from moorage.load.report.progress import ProgressLine, line
from moorage.load.run import Progress


def progress(phase: str = "load", scenario: Any = "echo", seconds: float = 5.5) -> Progress:
    made = Progress(Plan(scenario=scenario, url="http://x", warmup=1.0, duration=10.0), phase, seconds, 42)
    made.recent.counts["received"] = 1234
    made.recent.histograms["latency"].record(1_000_000)
    made.totals.counts["lost"] = 3
    return made


def test_the_text() -> None:
    text = line(progress())
    assert text.startswith("echo  [##########..........] 6/11 s  load  1,234/s  p50 1.0 ms  p99 1.0 ms")
    assert text.endswith("clients 42  lost 3")
    assert "p50" not in line(progress(scenario="idle"))


def test_the_text_while_it_connects() -> None:
    connecting = progress("connecting")
    assert line(connecting) == "echo  connecting 42 of 100 clients"
    connecting.totals.counts["failed"] = 7
    assert line(connecting).endswith("failed 7")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_which_is_removed() -> None:
    out = Terminal()
    shown = ProgressLine(out)
    shown(progress())
    long = len(out.getvalue())
    shown(progress("connecting"))
    shown.close()
    assert out.getvalue().count("\r") == 4
    assert "\n" not in out.getvalue()
    assert out.getvalue().rsplit("\r", 2)[1].strip() == ""
    assert long > 20


def test_a_file_gets_a_line_every_few_seconds() -> None:
    out = io.StringIO()
    shown = ProgressLine(out)
    for seconds in (0.0, 1.0, 4.9, 5.0, 6.0):
        shown(progress(seconds=seconds))
    shown(progress("connecting"))
    shown.close()
    assert out.getvalue().count("\n") == 2


def test_quiet() -> None:
    out = Terminal()
    shown = ProgressLine(out, shown=False)
    shown(progress())
    shown.close()
    assert out.getvalue() == ""
