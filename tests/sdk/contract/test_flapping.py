"""Both executors' links when the network breaks again and again."""

from __future__ import annotations

from tests.sdk.contract.executors import Case, Executor
from tests.sdk.service_peer import ServicePeer

CUTS = 12


async def test_a_link_that_breaks_again_and_again_keeps_its_session(
    executor: Executor, peer: ServicePeer
) -> None:
    peer.grace = 2_000
    case = await Case(executor, peer, executor.server(namespaces=["/"])).start()
    first = await peer.hello()
    assert first.session == ""
    for _ in range(CUTS):
        peer.cut()
        assert (await peer.hello()).session == "session1"
    await case.call(case.sio.emit, "still there", to=case.sid)
    assert await case.packet() == b'42["still there"]'
    await executor.call(case.moorage.close)
