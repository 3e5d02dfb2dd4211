"""What a supervisor and its workers tell each other, over a socket pair. The end of the supervisor's socket
tells a worker that the supervisor is dead. Each message is a length of four bytes and MessagePack."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final, Generic, TypeVar

import msgspec

from moorage.config.model import Config

MAX_QUEUED: Final = 1024 * 1024
"""Bytes that may wait for a process that does not read. Above that, messages that may be left out are
dropped."""
FLUSH_SECONDS: Final = 1.0
_LENGTH: Final = 4


class Begin(msgspec.Struct, frozen=True, tag=True):
    """To a worker, first: its settings, its name, and the directory for its sockets."""

    config: Config
    name: str
    run_dir: str


class Reload(msgspec.Struct, frozen=True, tag=True):
    """To a worker: apply what can change in these settings."""

    config: Config


class States(msgspec.Struct, frozen=True, tag=True):
    """To a worker: the state of each worker by its name."""

    states: dict[str, str]


class Stop(msgspec.Struct, frozen=True, tag=True):
    """To a worker: all workers stop. The first one begins the drain, a second one ends it."""


class Peers(msgspec.Struct, frozen=True, tag=True):
    """To a worker: all nodes of the cluster. Only if these are the workers alone, and all have started."""

    incarnations: list[str]


class Gone(msgspec.Struct, frozen=True, tag=True):
    """To a worker: the process of another worker has ended."""

    incarnation: str


class Render(msgspec.Struct, frozen=True, tag=True):
    """To a worker: send your metrics, with this number."""

    number: int


class Pages(msgspec.Struct, frozen=True, tag=True):
    """To a worker: the metrics that it asked for, by the names of the workers that answered in time, and how
    often each worker has been started again."""

    number: int
    pages: dict[str, bytes]
    restarts: dict[str, int]


class Started(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it listens on its own port."""

    incarnation: str


class State(msgspec.Struct, frozen=True, tag=True):
    """From a worker: "ready", or why it is not."""

    state: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From a worker: why it cannot start."""

    text: str


class Gather(msgspec.Struct, frozen=True, tag=True):
    """From a worker: collect the metrics of all workers, for the request with this number."""

    number: int


class Page(msgspec.Struct, frozen=True, tag=True):
    """From a worker: its metrics."""

    number: int
    page: bytes


ToWorker = Begin | Reload | Stop | States | Peers | Gone | Render | Pages
FromWorker = Started | State | Failed | Gather | Page
_encoder: Final = msgspec.msgpack.Encoder()
to_worker: Final = msgspec.msgpack.Decoder(ToWorker)
from_worker: Final = msgspec.msgpack.Decoder(FromWorker)
T = TypeVar("T")


class Channel(Generic[T]):
    """One end of the socket pair. `T` is what arrives."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: msgspec.msgpack.Decoder[T],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    @classmethod
    async def over(cls, sock: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> Channel[T]:
        """The channel on an end of a socket pair, which it owns from now on."""
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        return cls(reader, writer, decoder)

    @property
    def crowded(self) -> bool:
        """True if the other process does not read."""
        return self._writer.transport.get_write_buffer_size() > MAX_QUEUED

    def send(self, message: ToWorker | FromWorker) -> None:
        """Queue a message. After the end of the other process it is dropped."""
        if not self._writer.is_closing():
            data = _encoder.encode(message)
            self._writer.write(len(data).to_bytes(_LENGTH, "little") + data)

    async def receive(self) -> T | None:
        """The next message, or `None` after the other process has ended or has sent what cannot be read."""
        try:
            size = int.from_bytes(await self._reader.readexactly(_LENGTH), "little")
            return self._decoder.decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
            return None

    async def flushed(self) -> None:
        """Close it, and wait until the other process has taken everything or has ended."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                self._writer.close()
                await self._writer.wait_closed()

    def close(self) -> None:
        """End it."""
        self._writer.close()
