"""Two or more nodes as processes, joined by a real NATS server."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator

from tests.support.nats_server import NatsServer
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

SECONDS = 90.0


@contextlib.contextmanager
def two_nodes(
    *flags: str,
    env: dict[str, str] | None = None,
    each: Callable[[int], tuple[str, ...]] = lambda _number: (),
    nats: NatsServer | None = None,
    scheme: str = "http",
    command: str = "dev",
    count: int = 2,
) -> Iterator[list[MoorageProcess]]:
    """Two nodes (`count`) with one key that know each other and each other's address. `each` gives further
    flags of the first, the second and so on. Without `nats`, they have a server of their own."""
    key = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        nats = nats or stack.enter_context(NatsServer())
        nodes = []
        for number in range(1, count + 1):
            port = free_port()
            given = (
                f"--set=cluster.nats_url={nats.url}",
                f"--set=cluster.advertise={scheme}://127.0.0.1:{port}",
                f"--set=cluster.node_name=node-{number}",
                f"--port={port}",
            )
            node = MoorageProcess(*given, *flags, *each(number), command=command, key=key, env=env)
            nodes.append(stack.enter_context(node))
        for node in nodes:
            wait_ready(node, count)
        yield nodes


def wait_ready(node: MoorageProcess, count: int = 2) -> None:
    """Wait until the node is ready and hears the other ones."""
    deadline = time.monotonic() + SECONDS
    while node.get("/readyz")[0] != 200 or node.metric("moorage_cluster_nodes") != count:
        assert time.monotonic() < deadline, node.get("/readyz")
        time.sleep(0.05)  # between two questions, not instead of them
