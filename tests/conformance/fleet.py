"""Several app servers, one of each kind as a rule, on one hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.conformance.clients import Client
from tests.conformance.stage import Space, Stage

OURS = ("node", "python", "threads")
"""The kinds that hear each other."""


class Fleet(Stage):
    """A stage with several app servers. After `crew_of`, each serves the same number of clients."""

    def of(self, sdk: str) -> Space:
        """The app server of this kind."""
        return next(space for space in self.spaces if space.app.sdk == sdk)

    def others(self, space: Space, *kinds: str) -> list[Space]:
        """All app servers but this one; of these kinds, if any are named."""
        return [
            other for other in self.spaces if other is not space and (not kinds or other.app.sdk in kinds)
        ]

    def crew_of(self, each: int) -> dict[str, list[Client]]:
        """So many clients at each app server, every other on polling, by its kind.

        The service gives a client to whom has the fewest. Who has left a moment ago may count yet, so
        more may be needed than a division says.
        """
        self.define()
        crews: dict[str, list[Client]] = {space.app.sdk: [] for space in self.spaces}
        transports = self._transports()
        while any(len(crew) < each for crew in crews.values()):
            missing = sum(max(0, each - len(crew)) for crew in crews.values())
            opening = [self.opening(transport=next(transports)) for _ in range(missing)]
            for client in opening:
                client.connected()
                owner = self.owner(client)
                crew = crews[owner.app.sdk]
                if len(crew) < each:
                    crew.append(client)
                else:
                    client.act("disconnect")
                    owner.ended(client)  # so the service knows it too
        return crews

    @staticmethod
    def _transports() -> Iterator[str]:
        while True:
            yield "websocket"
            yield "polling"

    def hearing(
        self, crews: dict[str, list[Client]], act: Callable[[], object], by: Space
    ) -> dict[str, list[list[list[Any]]]]:
        """`hear`, by the kind of the clients' app servers."""
        everyone = [client for crew in crews.values() for client in crew]
        heard = iter(self.hear(everyone, act, by=by))
        return {sdk: [next(heard) for _ in crew] for sdk, crew in crews.items()}
