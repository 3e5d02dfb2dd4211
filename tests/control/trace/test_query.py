"""What a request for a trace asks for. `tests/app/operators/test_tracing.py` sends real ones."""

from __future__ import annotations

import pytest

from moorage.control.trace.query import TraceQuery
from moorage.wire.errors import PeerError
from moorage.wire.reasons import API_BAD_ARGUMENT
from moorage.wire.trace.scope import Scope


def test_what_is_watched() -> None:
    assert TraceQuery(user="ada", hub="h", payload=True).scope == Scope(user="ada", hub="h", payload=True)
    assert TraceQuery(room="", namespace="/n").scope == Scope(room="", namespace="/n")
    assert TraceQuery(sample=0.5).scope == Scope(sample=0.5)
    assert TraceQuery(connection="c").scope == Scope(connection="c")
    assert TraceQuery(app_server="s").scope == Scope(app_server="s")


@pytest.mark.parametrize(
    "query",
    [TraceQuery(), TraceQuery(hub="h"), TraceQuery(user="a", room="r"), TraceQuery(user="a", sample=1)],
)
def test_exactly_one_kind(query: TraceQuery) -> None:
    with pytest.raises(PeerError) as refused:
        _ = query.scope
    assert refused.value.reason is API_BAD_ARGUMENT


def test_as_the_audit_log_shows_it() -> None:
    assert TraceQuery(user="ada", payload=True).shown == {"user": "ada", "namespace": "/", "payload": True}
