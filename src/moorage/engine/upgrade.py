"""The states of an Engine.IO session and the transitions between them, as a table. Every change of a
session's state uses this table. A missing pair is either a fault of the peer (the caller gets None and
refuses) or happens after the end and is ignored."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class State(IntEnum):
    """State of a session."""

    OPENING = 0
    """The app server has not answered the connect event yet."""
    POLLING = 1
    PROBING = 2
    """On polling, with an attached WebSocket whose handshake is not finished."""
    WEBSOCKET = 3
    CLOSED = 4


class Step(IntEnum):
    """Event that may change the state."""

    OPENED_POLLING = 0
    OPENED_WEBSOCKET = 1
    UPGRADE_ASKED = 2
    """A WebSocket with this session's id arrived."""
    UPGRADE_DONE = 3
    """Its `5` packet arrived."""
    UPGRADE_FAILED = 4
    CLOSE = 5


TRANSITIONS: Final[dict[tuple[State, Step], State]] = {
    (State.OPENING, Step.OPENED_POLLING): State.POLLING,
    (State.OPENING, Step.OPENED_WEBSOCKET): State.WEBSOCKET,
    (State.POLLING, Step.UPGRADE_ASKED): State.PROBING,
    (State.PROBING, Step.UPGRADE_DONE): State.WEBSOCKET,
    (State.PROBING, Step.UPGRADE_FAILED): State.POLLING,
    (State.OPENING, Step.CLOSE): State.CLOSED,
    (State.POLLING, Step.CLOSE): State.CLOSED,
    (State.PROBING, Step.CLOSE): State.CLOSED,
    (State.WEBSOCKET, Step.CLOSE): State.CLOSED,
}


def after(state: State, step: Step) -> State | None:
    """The state after `step`, or None if `step` is not allowed in `state`."""
    return TRANSITIONS.get((state, step))
