"""The peers in the comparison: native Socket.IO, or an older checkout of Moorage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.figures import Bar, Figure
from bench.servers import (
    BUN,
    C_LOOP,
    CHECKOUT,
    MOORAGE,
    NATIVE,
    Start,
    bun,
    c_loop,
    moorage,
    native,
    node,
    python,
)

SLOWER: Final = 1.03
"""Maximum ratio to the older checkout: the noise of a quiet machine."""


@dataclass(frozen=True)
class Peers:
    """The starts of each section's targets. With `before`, the older checkout takes native's place in
    every round, so that a change and its parent alternate on the same machine."""

    before: Path | None = None

    def azure(self) -> dict[str, Start]:
        """The app behind Azure's SDK, and the C loop."""
        if self.before is not None:
            return self._both("app/azure.mjs")
        return {
            MOORAGE: moorage(node("app/azure.mjs")),
            NATIVE: _NATIVE_NODE,
            BUN: _NATIVE_BUN,
            C_LOOP: c_loop,
        }

    def node(self) -> dict[str, Start]:
        """The app behind our Node.js SDK."""
        if self.before is not None:
            return self._both("app/sdk.mjs")
        return {MOORAGE: moorage(node("app/sdk.mjs")), NATIVE: _NATIVE_NODE, BUN: _NATIVE_BUN}

    def python(self, codec: str) -> dict[str, Start]:
        """The app behind our Python SDK; both halves use one JSON implementation."""
        ours = moorage(python("app.sdk"), BENCH_JSON=codec)
        if self.before is not None:
            theirs = moorage(python("app.sdk", self.before), checkout=self.before, BENCH_JSON=codec)
        else:
            theirs = native(python("native.server"), BENCH_JSON=codec)
        return {f"{MOORAGE} {codec}": ours, f"{NATIVE} {codec}": theirs}

    def _both(self, script: str) -> dict[str, Start]:
        assert self.before is not None
        return {
            MOORAGE: moorage(node(script)),
            NATIVE: moorage(node(script, self.before), checkout=self.before),
        }


_NATIVE_NODE: Final = native(node("native/server.mjs", CHECKOUT))
_NATIVE_BUN: Final = native(bun("native/bun.mjs", CHECKOUT), BUN)


def judged_by_before(figures: list[Figure]) -> list[Figure]:
    """The same figures, with each bar against native replaced by one against the older checkout."""
    return [replace(figure, bars=_bars(figure)) for figure in figures]


def _bars(figure: Figure) -> tuple[Bar, ...]:
    for bar in figure.bars:
        if bar.versus == NATIVE:
            return (Bar(1 / SLOWER if bar.at_least else SLOWER, NATIVE, bar.at_least),)
    return ()
