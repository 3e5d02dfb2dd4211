"""An emit in steps: who has had it."""

from __future__ import annotations

from typing import Any

from moorage.hub.recovery.sockets.sending import Sending
from moorage.hub.recovery.sockets.track import Track
from moorage.wire.commands import EVERYONE, Selection
from tests.hub.fakes import World


def test_who_has_had_it() -> None:
    stamps = iter([b"first", b"second"])
    sending = Sending(EVERYONE, 7, lambda: next(stamps))
    assert sending.left(["a", "b"]) == ["a", "b"]
    assert sending.step(["a"]) == b"first"
    sending.replayed("b")
    assert sending.left(["a", "b", "c"]) == ["c"]
    assert sending.step(["c"]) == b"second"


def test_who_has_missed_it() -> None:
    track: Track[Any] = Track("p", "/", "s", connection_id="c1", user_id="u")
    track.server, _ = World().server()
    assert Sending(Selection(user="u"), 7, bytes).has_missed("connection", track)
    assert not Sending(Selection(user="v"), 7, bytes).has_missed("connection", track)
    sending = Sending(Selection(user="u"), 7, bytes)
    sending.step(["connection"])
    assert not sending.has_missed("connection", track)
