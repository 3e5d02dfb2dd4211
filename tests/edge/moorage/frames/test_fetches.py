"""A session's requests for sockets: a few at once, in order. Nothing else of the session waits for them."""

from __future__ import annotations

import pytest

from moorage.edge.moorage.frames import answers
from moorage.edge.moorage.frames.fetches import AT_ONCE, MAX_WAITING
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from tests.edge.moorage.rig import Pair

pytestmark = pytest.mark.repair(4)

NOTE = v1.Emit(0, To("/"), 0, b'42["note"]')


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    """The first app server does not read, so its answers about more than one socket wait."""
    monkeypatch.setattr(answers, "AT_ONCE", 1)
    pair = Pair()
    pair.one.line.pause_writing()
    return pair


def fetches(count: int, first: int = 1) -> list[v1.FromApp]:
    return [v1.Fetch(ref, To("/"), 0) for ref in range(first, first + count)]


def asked(pair: Pair) -> int:
    """How many requests the other app server was asked about."""
    return len(pair.two.heard(v1.Query))


def test_few_are_in_progress_and_emits_do_not_wait(pair: Pair) -> None:
    pair.one.say(*fetches(AT_ONCE + 5), NOTE)
    assert asked(pair) == AT_ONCE
    assert len(pair.got(b'42["note"]')) == 4
    pair.one.line.resume_writing()
    pair.rig.settle()
    assert asked(pair) == 5
    assert [frame.ref for frame in pair.one.heard(v1.Asked)] == list(range(1, AT_ONCE + 6))


def test_a_refused_one_makes_place(pair: Pair) -> None:
    pair.one.say(*[v1.Fetch(ref, To("no namespace"), 0) for ref in range(1, AT_ONCE + 5)], *fetches(2, 100))
    long = ("x",) * 300
    pair.one.say(*[v1.Fetch(ref, To("/", ("", *long)), 0) for ref in range(200, 200 + AT_ONCE)])
    assert asked(pair) == 2
    pair.one.line.resume_writing()
    assert len(pair.one.heard(v1.Failed)) == 2 * AT_ONCE + 4
    pair.one.say(*fetches(AT_ONCE, 300))
    assert asked(pair) == AT_ONCE


def test_too_many_make_the_session_wait(pair: Pair) -> None:
    pair.one.say(*fetches(AT_ONCE + MAX_WAITING + 3), NOTE)
    assert pair.got(b'42["note"]') == []
    assert asked(pair) == AT_ONCE
    pair.one.line.resume_writing()
    pair.rig.settle()
    assert len(pair.got(b'42["note"]')) == 4
    assert asked(pair) == MAX_WAITING + 3
    answered = [frame.ref for frame in pair.one.heard(v1.Asked)]
    assert answered == list(range(1, AT_ONCE + MAX_WAITING + 4))
