"""The transitions of a session, pair by pair, and the properties of the whole table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.engine.upgrade import TRANSITIONS, State, Step, after

# Rows: the state before. Columns: the step. `-`: not allowed.
TABLE = """
            OPENED_POLLING OPENED_WEBSOCKET UPGRADE_ASKED UPGRADE_DONE UPGRADE_FAILED CLOSE
OPENING     POLLING        WEBSOCKET        -             -            -              CLOSED
POLLING     -              -                PROBING       -            -              CLOSED
PROBING     -              -                -             WEBSOCKET    POLLING        CLOSED
WEBSOCKET   -              -                -             -            -              CLOSED
CLOSED      -              -                -             -            -              -
"""


def cells() -> list[tuple[State, Step, State | None]]:
    """The table, one row per pair."""
    head, *rows = [line.split() for line in TABLE.strip().splitlines()]
    return [
        (State[row[0]], Step[step], None if cell == "-" else State[cell])
        for row in rows
        for step, cell in zip(head, row[1:], strict=True)
    ]


@pytest.mark.parametrize(("state", "step", "expected"), cells())
def test_a_transition(state: State, step: Step, expected: State | None) -> None:
    assert after(state, step) is expected


def test_the_table_above_is_complete() -> None:
    assert {(state, step) for state, step, _ in cells()} == {(a, b) for a in State for b in Step}
    assert {(a, b): c for a, b, c in cells() if c is not None} == TRANSITIONS


@given(st.lists(st.sampled_from(Step), max_size=30))
def test_sequences_of_steps(steps: list[Step]) -> None:
    state = State.OPENING
    seen = [state]
    for step in steps:
        state = after(state, step) or state
        if state is not seen[-1]:
            seen.append(state)
    # Opening and the end happen once; a WebSocket never goes back to polling.
    assert seen.count(State.OPENING) == 1
    assert State.CLOSED not in seen[:-1]
    if State.WEBSOCKET in seen:
        assert set(seen[seen.index(State.WEBSOCKET) :]) <= {State.WEBSOCKET, State.CLOSED}
    assert (Step.CLOSE in steps) == (seen[-1] is State.CLOSED)
