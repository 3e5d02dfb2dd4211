"""Socket.IO packets as a client writes and reads them, for one namespace. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import orjson

from moorage.wire.errors import PeerError
from moorage.wire.socketio import parse_header

PING: Final = b"2"
PONG: Final = b"3"
CLOSE: Final = b"1"


class Opened(NamedTuple):
    """The server's Engine.IO handshake; times in seconds."""

    sid: str
    ping_interval: float
    ping_timeout: float


class Joined(NamedTuple):
    """The server's answer to CONNECT. `pid` is empty if the server does not recover connections."""

    sid: str
    pid: str


class Dialect:
    """The beginnings of a namespace's packets, and the packets themselves."""

    def __init__(self, namespace: str) -> None:
        name = b"" if namespace == "/" else namespace.encode() + b","
        self.connect: Final = b"40" + name
        self.disconnect: Final = b"41" + name
        self.event: Final = b"42" + name
        self.ack: Final = b"43" + name
        self.refused: Final = b"44" + name

    def join(self, auth: Any, pid: str = "", offset: str = "") -> bytes:
        """The CONNECT packet. With a `pid` it asks for the state of an earlier connection."""
        if pid:
            auth = {**(auth if isinstance(auth, dict) else {}), "pid": pid, "offset": offset}
        return self.connect + (b"" if auth is None else orjson.dumps(auth))

    def emit(self, event: str, text: str) -> tuple[bytes, bytes]:
        """An event with one string, in two parts, between which an ack id fits."""
        return self.event, orjson.dumps([event, text])

    def ack_id(self, packet: bytes) -> int:
        """The id of an ACK packet. Raises `ValueError`."""
        if packet.startswith(self.ack):
            return int(packet[len(self.ack) : packet.find(b"[")])
        try:
            found = parse_header(packet).id
        except PeerError as error:
            raise ValueError(str(error)) from None
        if found is None:
            raise ValueError("an ack without an id")
        return found

    def joined(self, packet: bytes) -> Joined:
        """The answer to CONNECT. Raises `ValueError`."""
        data = orjson.loads(packet[len(self.connect) :] or b"{}")
        if not isinstance(data, dict):
            raise ValueError("the answer to CONNECT is not an object")
        return Joined(str(data.get("sid", "")), str(data.get("pid", "")))

    def refusal(self, packet: bytes) -> str:
        """The message of a CONNECT_ERROR."""
        try:
            data = orjson.loads(packet[len(self.refused) :])
        except orjson.JSONDecodeError:
            return "no message"
        return str(data.get("message")) if isinstance(data, dict) else str(data)


def opened(packet: bytes) -> Opened:
    """The Engine.IO handshake, `0{…}`. Raises `ValueError`."""
    data = orjson.loads(packet[1:])
    try:
        return Opened(str(data["sid"]), data["pingInterval"] / 1000, data["pingTimeout"] / 1000)
    except (KeyError, TypeError):
        raise ValueError("the Engine.IO handshake lacks sid, pingInterval or pingTimeout") from None


def offset(packet: bytes) -> str:
    """The last argument of an event if it is a string: a server that recovers connections adds the offset
    there."""
    at = packet.rfind(b',"')
    return packet[at + 2 : -2].decode("utf-8", "replace") if at > 0 and packet.endswith(b'"]') else ""


def numbered(value: Any, number: int) -> Any:
    """`value` with the client's number in place of each `{n}` in its strings."""
    if isinstance(value, str):
        return value.replace("{n}", str(number))
    if isinstance(value, dict):
        return {key: numbered(inner, number) for key, inner in value.items()}
    if isinstance(value, list):
        return [numbered(inner, number) for inner in value]
    return value


class Stamp(NamedTuple):
    """What the string of a published event tells its receivers. `at` is the intended time in nanoseconds."""

    sender: int
    number: int
    at: int


_STAMP: Final = re.compile(rb"moorage:(\d+):(\d+):(\d+):")


def stamped(stamp: Stamp, size: int) -> str:
    """A string of at least `size` bytes that begins with the stamp."""
    return f"moorage:{stamp.sender}:{stamp.number}:{stamp.at}:".ljust(size, "x")


def stamp_of(packet: bytes) -> Stamp | None:
    """The stamp in an event's packet, wherever the server has put the string; None if there is none."""
    found = _STAMP.search(packet)
    return Stamp(*map(int, found.groups())) if found else None
