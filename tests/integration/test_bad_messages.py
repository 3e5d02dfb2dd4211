"""A program that may write to NATS, but is no node, writes to all subjects of two real nodes: garbage, copies
of what the nodes have sent, messages of another version, and messages under the names of nodes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from moorage.wire.cluster import messages, streams
from moorage.wire.cluster.messages import Alive, Envelope
from moorage.wire.cluster.streams import ALL, BEAT, DIRECT
from moorage.wire.commands import EVERYONE, Send
from tests.integration.test_nodes import SECONDS, Place, nodes, nodes_of, until
from tests.support.nats_server import NatsServer
from tests.support.service import MoorageProcess

NAME = "strange"
WHOLE = b"\x00"
"""What goes in front of a message that is not cut in chunks."""
FORGED = b'42["forged"]'
BAD_MESSAGES = "bad messages of other nodes"
BAD_CHUNKS = "chunks that no node sends were dropped"
OTHER_VERSION = "node refused: it speaks another version of the cluster's protocol"
REASONS = ("chunk", "duplicate", "forged", "garbage", "own-id", "refused", "stranger")


class Stranger:
    """Reads and writes all subjects of the cluster."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.seen: list[tuple[bytes, bytes]] = []
        """Subjects and messages, in the order in which NATS has delivered them."""

    async def read(self) -> None:
        """Read for ever."""
        while head := await self._reader.readline():
            if head.startswith(b"MSG "):
                parts = head.split()
                self.seen.append((parts[1], await self._reader.readexactly(int(parts[-1]))))
            elif head == b"PING\r\n":
                self._writer.write(b"PONG\r\n")

    def write(self, subject: bytes, message: bytes) -> None:
        """Publish."""
        self._writer.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(message), message))

    def frames(self, kind: int) -> list[streams.Frame]:
        """The messages of this kind so far."""
        whole = [streams.decode(message[1:]) for _, message in self.seen if message.startswith(WHOLE)]
        return [frame for frame in whole if frame[0] == kind]


@asynccontextmanager
async def stranger(server: NatsServer) -> AsyncIterator[Stranger]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    made = Stranger(reader, writer)
    writer.write(b'CONNECT {"verbose":false}\r\nSUB moorage.%b.> 1\r\n' % NAME.encode())
    reading = asyncio.create_task(made.read())
    try:
        yield made
    finally:
        reading.cancel()
        writer.close()


@pytest.fixture
def processes() -> Iterator[tuple[NatsServer, list[MoorageProcess]]]:
    own = (f"cluster.name={NAME}",)
    with NatsServer() as server, nodes(server, first=own, second=own) as made:
        yield server, made


def lies(frame: streams.Frame, command: Send) -> list[bytes]:
    """Messages made from a heartbeat of a node: under its name, of a stranger, of another version."""
    _, node, first, second, marks, _ = frame
    name = node.decode()
    made = [
        # A heartbeat of the node whose content names another one, and one that is no heartbeat.
        (BEAT, node, Envelope("somebody", Alive("somebody"))),
        (BEAT, node, Envelope(name, command)),
        # Heartbeats of nodes that are not there, of the next version.
        (BEAT, b"newer", Envelope("newer", Alive("newer", version=(99, 0)))),
        *((kind, b"newer", Envelope("newer", command)) for kind in (ALL, DIRECT)),
    ]
    return [
        streams.encode(streams.prefix(kind, sender), first, second, messages.encode(envelope), marks)
        for kind, sender, envelope in made
    ]


async def test_what_strangers_write_is_counted_and_reaches_no_client(
    processes: tuple[NatsServer, list[MoorageProcess]],
) -> None:
    server, made = processes
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(stranger(server))
        here, there, other = Place(made[0], "a"), Place(made[1], "a"), Place(made[0], "b")
        for place in (here, there, other):
            await place.start(stack)
        for place in (here, there):
            await place.sio.emit("good", place.sid)
            for one in (here, there):
                assert await one.client.next() == ("good", place.sid)
        await asyncio.to_thread(until, lambda: len({one[1] for one in wire.frames(BEAT)}) == 2, "heartbeats")

        beats = {frame[1]: frame for frame in wire.frames(BEAT)}
        subjects = [b"moorage.%b.node.%b" % (NAME.encode(), node) for node in beats]
        subjects.append(b"moorage.%b.all" % NAME.encode())
        copies = list(wire.seen)
        chance = random.Random(11)
        garbage = [b"", WHOLE, b"\x02abc", b"\x01short", WHOLE + b"\x01\x03abc"]
        garbage += [bytes((at % 4,)) + chance.randbytes(chance.randrange(300)) for at in range(200)]
        for subject in subjects:
            for message in garbage:
                wire.write(subject, message)
            for frame in beats.values():
                for message in lies(frame, Send("b", EVERYONE, FORGED)):
                    wire.write(subject, WHOLE + message)
        for subject, message in copies:
            wire.write(subject, message)

        for process in made:
            for reason in REASONS:
                name = f'moorage_cluster_bad_messages_total{{reason="{reason}"}}'
                await asyncio.to_thread(until, partial(is_counted, process, name), name)
            await asyncio.to_thread(until, partial(hears_both, process), "two nodes")
        for place in (here, there):
            await place.sio.emit("still good", place.sid)
            for one in (here, there):
                assert await one.client.next() == ("still good", place.sid)
        await other.sio.emit("own")
        assert await other.client.next() == ("own",)
        for process in made:
            for event in (BAD_MESSAGES, BAD_CHUNKS, OTHER_VERSION):
                await asyncio.to_thread(process.wait_record, SECONDS, event=event, level="warning")
            levels = {json.loads(line)["level"] for line in process.lines if line.startswith("{")}
            assert levels <= {"info", "warning"}


def is_counted(process: MoorageProcess, name: str) -> bool:
    """True once this counter is above 0."""
    return process.metric(name) > 0


def hears_both(process: MoorageProcess) -> bool:
    """True while the node hears the other, and nobody else."""
    return nodes_of(process) == 2
