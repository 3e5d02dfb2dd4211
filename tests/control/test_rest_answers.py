from __future__ import annotations

import json

from moorage.control.rest_answers import error_answer, json_answer, page_answer
from moorage.wire.commands import Member, Outcome
from moorage.wire.errors import PeerError
from moorage.wire.reasons import API_BAD_ARGUMENT, TOKEN_EXPIRED


def test_error() -> None:
    answer = error_answer(PeerError(API_BAD_ARGUMENT, "top must be a number"), "list_connections_in_group")
    assert answer.status_code == 400
    assert answer.headers["x-ms-error-code"] == "api-bad-argument"
    assert "www-authenticate" not in answer.headers
    assert json.loads(bytes(answer.body)) == {
        "code": "api-bad-argument",
        "message": "a parameter is not valid: top must be a number",
        "target": "list_connections_in_group",
        "details": [],
        "inner": {"code": "5005", "inner": None},
    }


def test_a_refused_token_names_the_scheme() -> None:
    answer = error_answer(PeerError(TOKEN_EXPIRED), "send_to_all")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_json_of_any_text() -> None:
    assert json_answer({"a": 'é"'}, 201).body == '{"a":"é\\""}'.encode()


def test_pages() -> None:
    page = Outcome(members=(Member("c1", "bob"), Member("c2", None)), more=True)
    body = json.loads(bytes(page_answer(page, {"top": ["1"], "x": ["a b", "&"]}, "http://h/l").body))
    assert body == {
        "value": [{"connectionId": "c1", "userId": "bob"}, {"connectionId": "c2", "userId": None}],
        "nextLink": "http://h/l?top=1&x=a+b&x=%26",
    }
    assert json.loads(bytes(page_answer(Outcome(), None, "http://h/l").body)) == {
        "value": [],
        "nextLink": None,
    }
