"""The table of a result, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from moorage.load.result import ALWAYS, FIGURES, LATENCY, SHARES, Result


def table(result: Result) -> str:
    """The whole table."""
    return "\n".join(_lines(result)) + "\n"


def rows(result: Result) -> Iterator[tuple[str, str]]:
    """The figures with their names, formatted."""
    plan = result.plan
    yield "clients", f"{result.connected:,} of {plan.clients:,}" if result.connected else f"{plan.clients:,}"
    yield "measured", f"{result.seconds_measured:.1f} s" + (", interrupted" if result.interrupted else "")
    if "rate" in result.figures:
        yield f"{FIGURES[plan.scenario]['received']} per second", f"{result.figures['rate']:,.0f}"
    for name, label in (ALWAYS | FIGURES[plan.scenario]).items():
        value = result.figures[name]
        if value or name in FIGURES[plan.scenario]:
            yield label, f"{value:,.0f}"
    busy = ", ".join(f"{share:.0%}" for share in result.generator_cpu)
    yield "CPU of each load process", busy
    if result.server:
        yield "CPU of the server", f"{result.server['cores']:.2f} cores"
        yield "memory of the server", f"{result.server['memory'] / 1e6:,.0f} MB"
        if "memory_per_client" in result.server:
            yield "the same, per client", f"{result.server['memory_per_client'] / 1024:,.1f} KiB"


def latencies(result: Result) -> Iterator[tuple[str, dict[str, float]]]:
    """The tables of latencies that are not empty, with their names. Milliseconds."""
    if result.latency:
        yield LATENCY[result.plan.scenario], result.latency
    if result.connect:
        # The connects that the scenario itself measures count from their intended times.
        yield "the same, once begun" if result.plan.scenario == "connects" else "connect", result.connect
    if result.lag:
        yield "own delay of the load tester", result.lag


def ms(value: float) -> str:
    """Milliseconds with about three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def _lines(result: Result) -> Iterator[str]:
    plan = result.plan
    yield f"{plan.scenario}  {plan.url}{plan.path}  namespace {plan.namespace}  {plan.transport}"
    yield ""
    yield from _aligned(list(rows(result)))
    found = [(f"{name}, ms", *(ms(values[share]) for share in SHARES)) for name, values in latencies(result)]
    if found:
        yield ""
        yield from _columns([("", *SHARES), *found])
    for title, texts in (("warning", result.warnings), ("error", _errors(result))):
        for text in texts:
            yield f"\n{title}: {text}" if text is texts[0] else f"{title}: {text}"
    if result.verdicts:
        yield ""
    for verdict in result.verdicts:
        said = "FAILED" if verdict.failed else "passed"
        yield f"{said}  --fail-if {verdict.condition}  (it is {verdict.value:,.6g})"


def _errors(result: Result) -> list[str]:
    return [f"{count:,} x {text}" for text, count in list(result.errors.items())[:10]]


def _aligned(found: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in found)
    return (f"{name.ljust(width)}  {value}" for name, value in found)


def _columns(found: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    for first, *rest in found:
        yield "  ".join(
            [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        )
