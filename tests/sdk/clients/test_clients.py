"""The table of clients, and the pieces of an event on their way out."""

from __future__ import annotations

from typing import Any

import engineio
import pytest

from moorage.sdk.clients.clients import Client, ClientTable, OutgoingParts, moved_to, text_of
from moorage.sdk.clients.members import Member, Members, Stage
from moorage.wire.moorage.v1 import Close, Opened


class Table(ClientTable[Client]):
    """A table without an engine around it."""

    def __init__(self, **settings: int) -> None:
        self._replace(engineio.Server(async_mode="threading", **settings), "elsewhere")


def client(number: int) -> Client:
    return Client(number, f"client{number}", "session", {"QUERY_STRING": "EIO=4&transport=polling"})


def test_a_text_message_leaves_at_once() -> None:
    assert OutgoingParts().add('2["a"]') == b'42["a"]'
    assert OutgoingParts().add("") == b"4"


def test_an_event_leaves_with_its_last_attachment() -> None:
    parts = OutgoingParts()
    assert parts.add('52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]') is None
    assert parts.add(b"\x00") is None
    assert parts.parts
    payload = parts.add(b"\x01")
    assert payload is not None
    assert payload.split(b"\x1e")[1:] == [b"bAA==", b"bAQ=="]
    assert not parts.parts
    assert parts.add('2["b"]') == b'42["b"]'


def test_an_event_whose_attachments_never_came_does_not_enter_the_next() -> None:
    parts = OutgoingParts()
    parts.add('51-["a",{"_placeholder":true,"num":0}]')
    assert parts.add('2["b"]') == b'42["b"]'


def test_a_client_is_accepted_on_the_servers_terms() -> None:
    table = Table(ping_interval=3, ping_timeout=2, max_http_buffer_size=1000)
    assert table.take(client(7)) == Opened(7, 3000, 2000, 1000)
    assert set(table.sockets) == {"client7"}


def test_a_lost_session_takes_all_clients_and_their_sessions_stay_readable() -> None:
    table, one = Table(), client(1)
    table.take(one)
    assert table.forget_all() == [one]
    assert one.gone
    assert table.by_number == {}
    assert table._get_socket("client1") is one
    table.remove(one)
    assert one.closed
    with pytest.raises(KeyError):
        table._get_socket("client1")


def test_threads_that_close_at_once_get_each_client_once() -> None:
    table, others = Table(), list[Client]()

    class Slow(dict[int, Client]):
        """Another thread takes all clients after this one has listed them."""

        def items(self) -> Any:
            listed = list(super().items())
            if listed and not others:
                table.by_number = dict(listed)
                others.extend(table.forget_all())
                self.clear()
                table.by_number = self
            return listed

    one = client(1)
    table.take(one)
    table.by_number = Slow(table.by_number)
    assert table.forget_all() == []
    assert others == [one]


def test_a_client_of_the_same_id_is_not_removed_with_the_old_one() -> None:
    table, old, new = Table(), client(1), client(1)
    table.take(old)
    table.take(new)
    table.remove(old)
    assert table.sockets == {"client1": new}


def test_a_connection_is_ended_once() -> None:
    one, gone = client(1), client(2)
    gone.gone = True
    assert [one.begin_to_close(), one.begin_to_close(), gone.begin_to_close()] == [Close(1), None, None]


def test_the_answer_to_a_connect_names_the_socket_that_waits_for_it() -> None:
    one = client(1)
    member = Member("s", "/chat", one, None)
    Members().add(member)
    assert one.answered_by('0/chat,{"sid":"s"}') is member
    assert one.answered_by('0{"sid":"s"}') is None
    member.stage = Stage.CONNECTED
    assert one.answered_by('0/chat,{"sid":"s"}') is None


def test_texts() -> None:
    assert text_of({"a": [1]}) == '{"a":[1]}'
    assert text_of(b"x") == b"x"
    assert "/clients/socketio/hubs/app" in moved_to("http://there", "app")
