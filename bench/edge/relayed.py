"""(tls-workers) The cost of relaying, which workers with TLS do: the CPU of both workers for an acked round
trip of 100 bytes, direct and through a worker that does not own the session, and the memory of a WebSocket.
Without TLS the connection is passed to the owner, and costs nothing more."""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import ExitStack

from bench.cluster.machines import workers
from bench.edge.secure import trusting
from bench.edge.targets import certificate
from bench.errors import BenchError
from bench.figures import Figure, Rounds
from bench.frames import client_frame, split_frames, upgrade_request
from bench.loads import echo_frames
from bench.measures import EVENT
from bench.process import Together
from bench.run import Run
from bench.servers import HOST, MOORAGE, Address, app, node


class _Client:
    """A blocking TLS connection. `raw` is for a WebSocket, after its upgrade."""

    def __init__(self, context: ssl.SSLContext, address: Address) -> None:
        tcp = socket.create_connection((HOST, address.port))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw = context.wrap_socket(tcp, server_hostname=HOST)
        self._pending = b""

    def packets(self, count: int) -> list[bytes]:
        """The next packets."""
        found: list[bytes] = []
        while len(found) < count:
            data = self.raw.recv(65_536)
            if not data:
                raise BenchError("a worker closed a connection")
            packets, self._pending = split_frames(self._pending + data)
            found += packets
        return found


def relayed(run: Run) -> list[Figure]:
    """Two workers. The sessions belong to the first one; half of the WebSockets come to the second one."""
    rounds = Rounds()
    count = run.plan.tls_relayed
    with ExitStack() as stack, run.caught("tls-workers", MOORAGE):
        logs = run.logs_of("tls-workers")
        cert, key = certificate(logs)
        files = (f"server.tls.cert_file={cert}", f"server.tls.key_file={key}")
        service = stack.enter_context(workers(logs, 2, *files))
        string = service.string.replace("http:", "https:")
        program = node("app/sdk.mjs")
        stack.enter_context(app(logs, program, string, NODE_EXTRA_CA_CERTS=str(cert), BENCH_NODES="2"))
        both = Together(service.parts)
        owner, other = service.nodes
        sets = {}
        for name, way in (("direct", owner), ("relayed", other)):
            both.settle()
            before = both.rss()
            sets[name] = [_session(owner, way) for _ in range(count)]
            both.settle()
            rounds.add(MOORAGE, {f"{name} memory": (both.rss() - before) / count / 1024})
        for number in range(run.plan.tls_rounds + 1):
            for name, clients in sets.items():
                both.settle()
                cpu = both.cpu()
                trips = _trips(clients, run.plan.tls_ticks)
                both.settle()
                if number:
                    rounds.add(MOORAGE, {name: (both.cpu() - cpu) / trips / 1000})
        for clients in sets.values():
            for client in clients:
                client.raw.close()
    return [
        figure
        for name, what in (("direct", "owner's port"), ("relayed", "another worker's port, relayed"))
        for figure in (
            Figure("tls-workers", f"CPU of 2 workers per round trip, {what}", "us", rounds.of(name)),
            Figure(
                "tls-workers", f"RSS of 2 workers per WebSocket, {what}", "KB", rounds.of(f"{name} memory")
            ),
        )
    ]


def _session(owner: Address, way: Address) -> _Client:
    """A session that begins with polling at its owner, and upgrades at another worker."""
    context = trusting()
    poll = _Client(context, owner)
    head = f"GET {owner.path}?EIO=4&transport=polling HTTP/1.1\r\nHost: {HOST}:{owner.port}\r\n\r\n"
    poll.raw.sendall(head.encode())
    answer = b""
    while b"}" not in answer:
        answer += poll.raw.recv(65_536)
    poll.raw.close()
    sid = json.loads(answer[answer.index(b"\r\n\r\n0{") + 5 :])["sid"]
    client = _Client(context, way)
    request = upgrade_request(HOST, owner.port, owner.path)
    client.raw.sendall(request.replace(b"transport=websocket", b"transport=websocket&sid=" + sid.encode()))
    head_of = b""
    while not head_of.endswith(b"\r\n\r\n"):
        head_of += client.raw.recv(65_536)
    if b" 101 " not in head_of:
        raise BenchError(f"the upgrade was refused: {head_of[:200]!r}")
    client.raw.sendall(client_frame(b"2probe"))
    client.packets(1)
    client.raw.sendall(client_frame(b"5") + client_frame(b"40"))
    client.packets(1)
    return client


def _trips(clients: list[_Client], times: int) -> int:
    asks, answers = echo_frames(EVENT)
    for number in range(times):
        ask = asks[number % len(asks)]
        for client in clients:
            client.raw.sendall(ask)
        for client in clients:
            if client.packets(1)[0] not in answers[number % len(answers)]:
                raise BenchError("not the answer")
    return times * len(clients)
