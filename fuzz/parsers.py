"""Compares the service's parsing of a client's packets with the parsers of app servers.

The service looks at a packet to keep memberships; an app server's library then parses the same bytes.
Where the two read different packets, a client could leave a namespace at one and stay in it at the other.
A parser may refuse what the service lets through. What it accepts, it must read as the service does.
"""

from __future__ import annotations

import atexit
import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from socketio.packet import Packet

from fuzz.mutate import damaged
from fuzz.target import Target
from fuzz.wire import PAYLOADS
from moorage.engine.peer import Answer, Forward, Left
from moorage.engine.session import EngineSession
from moorage.engine.upgrade import Step
from moorage.wire.engineio import RS
from moorage.wire.errors import PeerError
from moorage.wire.socketio import EVENT, parse_header

Read = tuple[int, str, str | None, int]
"""Type, namespace, ack id and number of attachments of one packet."""

PACKETS: Final = [
    *(packet for payload in PAYLOADS for packet in payload.split(RS)[:1]),
    *(b"43/n,7[]", b"437[1]", b"461-/n,7[]", b'451-/n,7["e"]', b"40/n,{}", b"41/n,", b'42/n,7["e"]'),
]
WORDS: Final = [
    *(
        RS,
        b"/n,",
        b"/",
        b",",
        b"-",
        b"0-",
        b"1-",
        b" ",
        b"\t",
        b"\n",
        b"\x0b",
        b"?",
        b"[]",
        b"{}",
        b"[",
        b"{",
    ),
    *(
        "٣".encode(),
        "²".encode(),
        "\xa0".encode(),
        "\ufeff".encode(),
        b"1e1-",
        b"0x1-",
        b"true",
        b'"',
        b"\x1f",
    ),
]


def _packet(rng: Random) -> bytes:
    return damaged(rng, PACKETS, WORDS)


def _accepted(packet: bytes) -> bytes:
    """The bytes that the service passes on or consumes when a client sends `packet`."""
    session = EngineSession(100_000, 10, 5)
    session.step(Step.OPENED_WEBSOCKET)
    for namespace in ("/", "/n"):
        session.peer.connected(namespace, "sid")
    if packet.startswith(b"40"):
        session.peer.namespaces.clear()
    event = session.receive(packet)
    if isinstance(event, Answer):
        return event.payload
    return event.packet if isinstance(event, Forward | Left) else packet


def _ours(packet: bytes) -> Read | None:
    """The service's reading; None for an event that only the SDKs parse and refuse."""
    try:
        header = parse_header(packet)
    except PeerError:
        assert packet.startswith(b"4%d" % EVENT)
        return None
    number = None if header.id is None else str(header.id)
    return header.type, header.namespace, number, header.attachments


def read_by_python(payload: str) -> list[Read] | None:
    """The packets as python-socketio reads them; None if it refuses one."""
    found: list[Read] = []
    for piece in payload.split("\x1e"):
        if not piece.startswith("4"):
            continue
        try:
            packet = Packet(encoded_packet=piece[1:])
        except Exception:
            return None
        # It keeps the count for types that cannot have attachments, and ignores it.
        count = packet.attachment_count if packet.packet_type > 4 else 0
        number = None if packet.id is None else str(packet.id)
        found.append((packet.packet_type, packet.namespace or "/", number, count))
    return found


@cache
def _node() -> subprocess.Popen[str]:
    script = Path(__file__).with_suffix(".mjs")
    process = subprocess.Popen(
        ["node", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    # The process ends with its standard input.
    atexit.register(process.communicate)
    return process


def read_by_node(payload: str) -> list[Read] | None:
    """The packets as socket.io's parsers read them; None if they refuse one."""
    process = _node()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(payload) + "\n")
    process.stdin.flush()
    found = json.loads(process.stdout.readline())
    return None if found is None else [tuple(read) for read in found]


def _same(read: Callable[[str], list[Read] | None], *, strips_query: bool) -> Callable[[bytes], None]:
    def compare(packet: bytes) -> None:
        payload = _accepted(packet)
        if not payload.startswith(b"4"):
            return
        theirs, ours = read(payload.decode()), _ours(payload)
        if theirs is None:
            return
        assert len(theirs) == 1, theirs
        if ours is None:
            assert theirs[0][0] == EVENT, theirs
            return
        kind, namespace, number, attachments = ours
        if strips_query:
            namespace = namespace.partition("?")[0]
        if read is read_by_node and number is not None:
            number = _as_javascript(number)
        assert theirs == [(kind, namespace, number, attachments)]

    return compare


def _as_javascript(digits: str) -> str:
    """JavaScript's numbers are exact up to 2^53."""
    number = int(digits)
    return str(number) if number <= 2**53 else json.loads(json.dumps(str(int(float(number)))))


TARGETS = {
    "socketio.parse_header, python-socketio": Target(_packet, _same(read_by_python, strips_query=True)),
    "socketio.parse_header, socket.io-parser": Target(_packet, _same(read_by_node, strips_query=False)),
}
