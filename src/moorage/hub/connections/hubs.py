"""The hubs that exist, and the settings of all hubs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from moorage.hub.hub import Hub
from moorage.hub.ports import Members
from moorage.hub.settings import HubSettings
from moorage.hub.tallies import Tallies
from moorage.wire import reasons
from moorage.wire.errors import PeerError


class Hubs(ABC):
    """The hubs of one event loop. `Clients` gives them their clients."""

    def __init__(self, hubs: Mapping[str, HubSettings], *, allow_unlisted_hubs: bool) -> None:
        self.hubs: dict[str, Hub] = {}
        """By their names in lower case."""
        self.tallies = Tallies()
        self.members: Members | None = None
        """Notified of the groups with members here, for the other nodes. Set before the first hub exists."""
        self.hub_made: Callable[[], object] = lambda: None
        """Called when a hub begins to exist."""
        self.configure(hubs, allow_unlisted_hubs=allow_unlisted_hubs)

    @abstractmethod
    def _app_servers_changed(self) -> None:
        """An app server of this node comes, goes, or is up or down."""

    def configure(self, hubs: Mapping[str, HubSettings], *, allow_unlisted_hubs: bool) -> None:
        """Take new hub settings, at the start and on a reload. Connections are not touched."""
        self._hub_settings = {name.casefold(): settings for name, settings in hubs.items()}
        self._unlisted = self._hub_settings.get("default", HubSettings())
        self.allow_unlisted = allow_unlisted_hubs
        """True if hubs may exist that are not listed."""
        self.tallies.expect(hubs.keys() - {"default"})
        for hub in self.hubs.values():
            hub.settings = self.settings_of(hub.name)

    def hub_settings(self, name: str) -> HubSettings:
        """The settings of hub `name`. Raises `PeerError` (unknown-hub) if only listed hubs may exist."""
        if self.allow_unlisted or name.casefold() in self._hub_settings:
            return self.settings_of(name)
        raise PeerError(reasons.UNKNOWN_HUB, name[:128])

    def settings_of(self, name: str) -> HubSettings:
        """The settings of hub `name`, whether it may exist or not."""
        return self._hub_settings.get(name.casefold(), self._unlisted)

    def known_hubs(self) -> list[str]:
        """Names of the hubs that exist now and of those that the configuration lists."""
        listed = self._hub_settings.keys() - self.hubs.keys() - {"default"}
        return [*(hub.name for hub in self.hubs.values()), *sorted(listed)]

    def hub(self, name: str) -> Hub | None:
        """The hub, if it exists. Names compare without case, as in the SDK."""
        return self.hubs.get(name.casefold())

    def ensure_hub(self, name: str) -> Hub:
        """The hub for an app server's link, created on first use. Only a signed link gets here, so a
        stranger's client cannot create hubs."""
        self.hub_settings(name)
        hub = self.hub(name)
        if hub is None:
            hub = Hub(name, self.tallies.of(name), self.members, self._app_servers_changed)
            hub.settings = self.settings_of(name)
            self.hubs[name.casefold()] = hub
            self.hub_made()
        return hub

    def _forget_if_empty(self, hub: Hub) -> None:
        if hub.is_empty and self.hubs.get(hub.name.casefold()) is hub:
            del self.hubs[hub.name.casefold()]
