"""The moments of a `story` for which there are rules, each with what has to happen just then to break one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.cluster.covering import App, ServiceNode
from tests.cluster.repeatable import repeatable
from tests.cluster.story import Story


class Moments(Story):
    """A story with these moments."""

    def _outside(self, app: App) -> tuple[ServiceNode, ServiceNode] | None:
        """The home of an app server, and a node that it does not cover."""
        home, covered = app.planner.home, {view.node for view in app.planner.alive}
        nodes = {node.name: node for node in self.cluster.live}
        outside = [node for name, node in nodes.items() if name not in covered]
        if home is None or home.node not in nodes or not outside:
            return None
        return nodes[home.node], self.choose.choice(outside)

    def _held_up(self, one: ServiceNode, other: ServiceNode, seconds: float = 2.0) -> None:
        self.cluster.network.delay(one.name, other.name)
        self.delays.append((one.name, other.name, self.cluster.now + seconds))

    def _pass(self, *steps: Callable[[], object]) -> None:
        """Some of these steps, in this order."""
        for step in steps:
            if self.choose.random() < 0.85:
                step()

    def _arrive(self) -> None:
        self.cluster.run(self.choose.choice((20, 200, 200)))

    def _begin(self) -> None:
        """A node is covered while what the home has forwarded to it is under way."""
        app = self._app()
        found = self._outside(app)
        if found is not None:
            home, node = found
            self.cluster.reachable.add(node.name)
            self._held_up(home, node, self.choose.choice((0.5, 1.0, 2.0)))
            self._pass(
                lambda: self._emit_from(app),
                self._arrive,
                self._time,
                lambda: self._emit_from(app),
                self._arrive,
                self._time,
                lambda: self._user_at(node),
                self._time,
                lambda: self._emit_from(app),
                lambda: self._direct_from(app, node),
            )

    def _reach(self) -> None:
        """A node can be reached whose clients are forwarded to an app server."""
        app = self._app()
        found = self._outside(app)
        if found is not None:
            home, node = found
            self._pass(
                lambda: self._user_at(node),
                self._arrive,
                lambda: self.cluster.reachable.add(node.name),
                self._arrive,
                self._time,
                lambda: self._user_at(node),
                self._time,
                self._arrive,
                lambda: self._held_up(home, node, 1.0),
                lambda: self._direct_from(app, node),
                lambda: self._emit_from(app),
                lambda: self._direct_from(app, node),
                self._arrive,
            )

    def _abandon(self) -> None:
        """A session is given up, and its node does not know it yet. The home forwards to it."""
        app = self._app()
        links = [one for one in app.links.values() if one.view.alive and one.view is not app.planner.home]
        if links:
            node_link = self.choose.choice(links)
            self.cluster.reachable.discard(node_link.view.node)
            app.give_up(node_link)
            self._pass(lambda: self._emit_from(app), self._arrive, self._time, lambda: self._emit_from(app))

    def _replace(self) -> None:
        """The home is given up, while what it has forwarded to a node is under way. The node is covered."""
        app = self._app()
        found = self._outside(app)
        if found is not None:
            home, node = found
            home_link = next(each for each in app.links.values() if each.view is app.planner.home)
            self._held_up(home, node, self.choose.choice((1.0, 3.0)))
            self._pass(
                lambda: self._emit_from(app),
                self._arrive,
                lambda: self.cluster.reachable.add(node.name),
                lambda: app.give_up(home_link),
                self._arrive,
                self._time,
                self._time,
                lambda: self._user_at(node),
                self._time,
                self._arrive,
                lambda: self._direct_from(app, node),
                self._arrive,
            )


def tell(seed: int, nodes: int, apps: int, most: int, happenings: Sequence[str]) -> Story:
    """A whole story."""
    with repeatable(seed):
        story = Moments(seed, nodes, apps, most)
        for each in happenings:
            story.happen(each)
            story.check()
        story.happen("rest")
    return story
