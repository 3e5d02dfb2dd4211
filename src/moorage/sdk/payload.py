"""Socket.IO packets as bytes, and back: quickly where the plain JSON module is in use, through the server's
own packet class where the developer has chosen another. A payload is what a frame carries: Engine.IO packets
in text form, `4…` and `b…` attachments, joined by 0x1e."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Final

import engineio.json
import msgspec
import orjson
import socketio.packet

from moorage.sdk.errors import NotSerialisable
from moorage.wire.errors import UsageError
from moorage.wire.socketio import Header, parse_header

RS: Final = b"\x1e"
EVENT: Final = 2
ACK: Final = 3

# orjson writes dates and dataclasses by default, and the standard library refuses them. What a client gets
# must not depend on the library in use. (orjson also writes UUID and Enum, and has no switch for those.)
_STRICT: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_BAD: Final = (TypeError, ValueError, OverflowError, RecursionError)
_KEYS: Final = (str, int, float, bool, type(None))

_decode = msgspec.json.decode


def header_of(packet: bytes) -> Header:
    """The header as python-socketio reads it: a query is no part of a namespace. Raises `PeerError`."""
    header = parse_header(packet)
    if "?" in header.namespace:
        return header._replace(namespace=header.namespace.partition("?")[0])
    return header


class Codec:
    """Encodes with the packet class of one `socketio` server."""

    def __init__(self, packet_class: type[Any]) -> None:
        if not getattr(packet_class, "uses_binary_events", False):
            raise UsageError(
                "this socketio server has its own serializer; Moorage reads the headers of packets and needs "
                "the default one (leave out `serializer=`)"
            )
        self.packet_class = packet_class

    @property
    def plain(self) -> bool:
        """True if the packet class and its JSON module are the library's own. Checked each time, because the
        module is a class attribute that another server of the process may set."""
        return self.packet_class is socketio.packet.Packet and self.packet_class.json is engineio.json

    def event(self, namespace: str, data: list[Any], ack_id: int | None = None) -> bytes:
        """An EVENT of `data`: the name, then the arguments. Raises `NotSerialisable`."""
        return self._packet(EVENT, namespace, data, ack_id)

    def ack(self, namespace: str, ack_id: int, data: list[Any]) -> bytes:
        """The answer to an event. Raises `NotSerialisable`."""
        return self._packet(ACK, namespace, data, ack_id)

    def _packet(self, kind: int, namespace: str, data: list[Any], ack_id: int | None) -> bytes:
        text: bytes | str
        try:
            if self.plain:
                text = orjson.dumps(data, None, _STRICT)
            elif self.packet_class is socketio.packet.Packet and not has_binary(data):
                text = self.packet_class.json.dumps(data, separators=(",", ":"))
            else:
                return self._by_library(kind, namespace, data, ack_id)
        except _BAD:
            # The library encodes what orjson refuses: bytes, keys that are not strings, integers above 64
            # bits, halves of surrogate pairs. It refuses values that have no encoding at all.
            return self._by_library(kind, namespace, data, ack_id)
        if isinstance(text, str):
            text = text.encode()
        if namespace == "/":
            return b"4%d%b" % (kind, text) if ack_id is None else b"4%d%d%b" % (kind, ack_id, text)
        return f"4{kind}{namespace},{'' if ack_id is None else ack_id}".encode() + text

    def _by_library(self, kind: int, namespace: str, data: list[Any], ack_id: int | None) -> bytes:
        try:
            encoded = self.packet_class(kind, namespace=namespace, data=data, id=ack_id).encode()
            return join(encoded if isinstance(encoded, list) else [encoded])
        except _BAD as error:
            raise explain(data, first=1 if kind == EVENT else 0, error=error) from None

    def loads(self, text: bytes | memoryview) -> Any:
        """Decode JSON of a peer. Raises `ValueError` for anything else."""
        if self.plain:
            try:
                # msgspec and not orjson: it keeps integers above 64 bits exact.
                return _decode(text)
            except (msgspec.DecodeError, RecursionError):
                pass  # NaN and the like, which the library reads
        try:
            return self.packet_class.json.loads(str(text, "utf-8"))
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def arguments(self, payload: bytes) -> list[Any]:
        """The data of a whole EVENT or ACK. Raises `ValueError`."""
        head, *attachments = payload.split(RS)
        try:
            packet = self.packet_class(encoded_packet=head[1:].decode())
            for attachment in attachments:
                packet.add_attachment(binary(attachment))
        except (RecursionError, LookupError, TypeError) as error:
            # Nested too deeply, or placeholders for attachments that are not there.
            raise ValueError(f"unreadable packet: {error}") from None
        if not isinstance(packet.data, list):
            raise ValueError("the data is not a list of arguments")
        return packet.data


def has_binary(value: Any) -> bool:
    """True if there are bytes somewhere in lists and dicts, where python-socketio looks for them."""
    if isinstance(value, (str, int, float)) or value is None:
        return False
    if isinstance(value, (bytes, bytearray)):
        return True
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return any(map(has_binary, value))


def join(parts: Iterable[str | bytes | bytearray]) -> bytes:
    """The encoded parts of one packet as a payload."""
    return RS.join(part_of(part) for part in parts)


def part_of(data: str | bytes | bytearray) -> bytes:
    """One Engine.IO message as a payload holds it."""
    return b"4" + data.encode() if isinstance(data, str) else b"b" + b64encode(data)


def binary(attachment: bytes) -> bytes:
    """The bytes of a `b…` attachment. Padding may be missing. Raises `ValueError`."""
    if attachment[:1] != b"b":
        raise ValueError("a binary attachment is missing")
    text = attachment[1:]
    return b64decode(text + b"=" * (-len(text) % 4), validate=True)


def explain(data: list[Any], *, first: int, error: BaseException | None = None) -> NotSerialisable:
    """The error for the value in `data` that cannot be sent. `first` is the index of the first argument."""
    for index, value in enumerate(data):
        where = f"args[{index - first}]" if index >= first else "the event's name"
        found = fault(value, where)
        if found is not None:
            return NotSerialisable(*found)
    return NotSerialisable("args", str(error) or "cannot be serialised")


def fault(value: Any, path: str, binary_allowed: bool = True) -> tuple[str, str] | None:
    """Path and problem of the first value inside `value` that cannot be sent, or None."""
    return _fault(value, path, binary_allowed, set())


def _fault(value: Any, path: str, binary_allowed: bool, above: set[int]) -> tuple[str, str] | None:
    if value is None or isinstance(value, (str, int, float)):
        return None
    if isinstance(value, (bytes, bytearray)):
        # python-socketio looks for binary in lists and dicts, not in tuples.
        return None if binary_allowed else (path, f"{type(value).__name__} is not JSON serialisable here")
    if not isinstance(value, (list, tuple, dict)):
        return path, f"{type(value).__name__} is not JSON serialisable"
    if id(value) in above or len(above) > 200:
        return path, "it contains itself" if id(value) in above else "it is nested too deeply"
    above.add(id(value))
    inner: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, _KEYS):
                return path, f"a key of type {type(key).__name__} is not JSON serialisable"
        inner = ((_member(path, key), item) for key, item in value.items())
    else:
        inner = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    allowed = binary_allowed and not isinstance(value, tuple)
    for where, item in inner:
        found = _fault(item, where, allowed, above)
        if found is not None:
            return found
    above.discard(id(value))
    return None


def _member(path: str, key: object) -> str:
    return f"{path}.{key}" if isinstance(key, str) and key.isidentifier() else f"{path}[{key!r}]"
