"""The HTML page of a result: one file that needs nothing else. Pure.

Every text in it is escaped, and its policy forbids scripts and requests, so that error texts of a hostile
server do no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

import msgspec

from moorage.load.report.charts import Axis, Line, chart, percentile_position
from moorage.load.report.table import latencies, ms, rows
from moorage.load.result import LATENCY, RATED, SHARES, Result

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2733; --paper: #fff; --soft: #5b6875; --grid: #dfe5ea;
  --one: #0b6bcb; --two: #c2410c; --bad: #b42318; --good: #067647; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #10161d; --soft: #9aa7b4;
  --grid: #2a3540; --one: #58a6ff; --two: #f0883e; --bad: #ff7b72; --good: #56d364; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 900px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { text-align: right; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--grid);
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; } .good { color: var(--good); font-weight: 600; }
svg { width: 100%; height: auto; margin: 1rem 0; } svg text { fill: var(--soft); font-size: 12px; }
svg .title { fill: var(--ink); font-weight: 600; font-size: 14px; } svg .grid { stroke: var(--grid); }
svg .x { text-anchor: middle; } svg .y, svg .unit, svg .legend { text-anchor: end; }
svg polyline { fill: none; stroke-width: 2; } svg polyline.one { stroke: var(--one); }
svg polyline.two { stroke: var(--two); } svg text.legend.one { fill: var(--one); }
svg text.legend.two { fill: var(--two); }
pre { background: var(--grid); padding: .8rem; overflow-x: auto; }
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_NINES: Final = (("0", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999))


def page(result: Result) -> str:
    """The whole document."""
    title = f"{result.plan.scenario}, {result.plan.url}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>moorage bench {escape(title)}</h1>",
            f"<p>{escape(result.started)}, version {escape(result.version)}</p>",
            *_parts(result),
            "</body></html>\n",
        ]
    )


def _parts(result: Result) -> Iterator[str]:
    for verdict in result.verdicts:
        kind, said = ("bad", "failed") if verdict.failed else ("good", "passed")
        value = f"(it is {verdict.value:,.6g})"
        yield f'<p><span class="{kind}">{said}</span> {escape(verdict.condition)} {value}</p>'
    for warning in result.warnings:
        yield f'<p><span class="bad">warning</span> {escape(warning)}</p>'
    yield "<h2>Figures</h2>" + _table((), rows(result))
    found = list(latencies(result))
    if found:
        yield "<h2>Latency in milliseconds</h2>"
        yield _table(
            ("", *SHARES), [(name, *(ms(values[share]) for share in SHARES)) for name, values in found]
        )
    yield from filter(None, (_by_percentile(result), *_over_time(result)))
    if result.errors:
        yield "<h2>Errors</h2>" + _table(("text", "count"), [(t, f"{n:,}") for t, n in result.errors.items()])
    options = msgspec.json.format(msgspec.json.encode(result.plan), indent=2).decode()
    yield f"<h2>Options</h2><pre>{escape(options)}</pre>"


def _by_percentile(result: Result) -> str:
    if not result.distribution:
        return ""
    total = sum(count for _, count in result.distribution)
    points, seen = [(0.0, result.distribution[0][0])], 0
    for value, count in result.distribution:
        seen += count
        points.append((percentile_position(min(seen / total, 1 - 1 / (2 * total))), value))
    nines = [(percentile_position(share), name) for name, share in _NINES]
    name = LATENCY[result.plan.scenario]
    return chart(f"{name}, by percentile", Axis("percentile", nines), Axis("ms"), [Line(name, points, "one")])


def _over_time(result: Result) -> Iterator[str]:
    seconds = result.seconds
    if len(seconds) < 2:
        return
    time = Axis("seconds of the load, warm-up included")
    if result.latency:
        two = [
            Line("p99", [(one.second, one.p99) for one in seconds if one.max], "two"),
            Line("p50", [(one.second, one.p50) for one in seconds if one.max], "one"),
        ]
        yield chart(f"{LATENCY[result.plan.scenario]}, in each second", time, Axis("ms"), two)
    if result.plan.scenario in RATED:
        rate = [Line("per second", [(one.second, one.rate) for one in seconds], "one")]
        yield chart("events", time, Axis("per s"), rate)
    yield chart(
        "clients", time, Axis("count"), [Line("connected", [(s.second, s.connected) for s in seconds], "one")]
    )


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    first = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>" if head else ""
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
    return f'<div class="wide"><table>{first}{lines}</table></div>'
