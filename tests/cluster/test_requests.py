"""One command of this node: when it is replied to, and when its answers end."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.cluster.requests import Request
from moorage.wire.commands import (
    EVERYONE,
    NOT_FOUND,
    Exists,
    FetchSockets,
    Invoke,
    ListGroup,
    Member,
    Outcome,
)
from moorage.wire.errors import PeerError
from moorage.wire.reasons import TOO_MANY_GROUPS
from tests.hub.fakes import RecordingAnswers

INVOKE = Invoke("app", EVERYONE, b"42[1]")


class Asked:
    """A request to the nodes a and b, and what came back."""

    def __init__(self, command: Any = INVOKE) -> None:
        self.replies: list[Outcome | Exception] = []
        self.answers = RecordingAnswers()
        many = isinstance(command, Invoke | FetchSockets)
        self.request = Request(
            1, command, nodes=("a", "b"), deadline=5.0, reply=self._reply, about=self,
            answers=self.answers if many else None,
        )  # fmt: skip

    def _reply(self, about: Any, outcome: Outcome | Exception) -> None:
        assert about is self
        assert not self.answers.finished, "the reply comes first"
        self.replies.append(outcome)


def test_the_reply_waits_for_all_nodes() -> None:
    asked = Asked(Exists("app", EVERYONE))
    asked.request.outcome("a", NOT_FOUND)
    assert asked.replies == []
    asked.request.outcome("b", Outcome(reached=2))
    assert asked.replies == [Outcome(reached=2)]
    assert asked.request.is_over


def test_the_answers_end_after_the_reply_and_after_all_nodes() -> None:
    asked = Asked()
    asked.request.answer("b", "x", b"1")
    asked.request.finished("b", ("y",))
    asked.request.outcome("a", Outcome(asked=1))
    asked.request.finished("a", ())
    assert (asked.replies, asked.answers.finished) == ([], 0)
    asked.request.outcome("b", Outcome(asked=2))
    assert asked.replies == [Outcome(asked=3)]
    assert (asked.answers.senders, asked.answers.missing, asked.answers.finished) == (["x"], ("y",), 1)
    assert asked.request.is_over


@pytest.mark.parametrize("told", [False, True])
def test_a_node_that_is_given_up_is_missing(told: bool) -> None:
    asked = Asked()
    asked.request.outcome("a", Outcome(asked=1))
    asked.request.finished("a", ())
    if told:
        asked.request.outcome("b", Outcome(asked=1))
    asked.request.give_up([("b", "node b"), ("c", "node c")])
    (outcome,) = asked.replies
    assert isinstance(outcome, Outcome)
    assert outcome.missing == (() if told else ("node b",))
    assert asked.answers.missing == ("node b",)
    assert asked.request.is_over


def test_the_first_refusal_is_the_reply_and_nothing_comes_after_it() -> None:
    asked = Asked()
    refusal = PeerError(TOO_MANY_GROUPS)
    asked.request.outcome("a", refusal)
    assert asked.replies == []
    asked.request.outcome("b", Outcome(asked=1))
    assert asked.replies == [refusal]
    assert asked.request.is_over
    asked.request.answer("b", "x", b"1")
    asked.request.finished("b", ())
    asked.request.give_up([("b", "node b")])
    assert (asked.replies, asked.answers.senders, asked.answers.finished) == ([refusal], [], 0)


def test_what_comes_twice_or_from_a_stranger_is_ignored() -> None:
    asked = Asked()
    for node in ("a", "a", "x", "b", "b"):
        asked.request.outcome(node, Outcome(asked=1))
        asked.request.finished(node, (f"missing at {node}",))
        asked.request.answer(node, "late", b"1")
    assert asked.replies == [Outcome(asked=2)]
    assert asked.answers.missing == ("missing at a", "missing at b")
    assert (asked.answers.finished, asked.answers.senders) == (1, [])


def test_rows_belong_to_the_outcome_of_their_node() -> None:
    asked = Asked(FetchSockets("app", EVERYONE, "/", 5.0, 0))
    asked.request.rows("b", "s1", [])
    asked.request.rows("b", "s1", [])
    asked.request.rows("a", "s2", [])
    asked.request.outcome("b", Outcome(reached=2))
    asked.request.give_up([("a", "node a")])
    (outcome,) = asked.replies
    assert isinstance(outcome, Outcome)
    assert {server: list(rows) for server, rows in outcome.sockets.items()} == {"s1": [[], []]}


def test_a_page_is_cut_to_its_limit() -> None:
    asked = Asked(ListGroup("app", "g", 2))
    asked.request.outcome("a", Outcome(reached=1, members=(Member("c2", None),)))
    asked.request.outcome("b", Outcome(reached=2, members=(Member("c1", None), Member("c3", None))))
    (outcome,) = asked.replies
    assert isinstance(outcome, Outcome)
    assert [row.connection_id for row in outcome.members] == ["c1", "c2"]
    assert (outcome.reached, outcome.more) == (2, True)
