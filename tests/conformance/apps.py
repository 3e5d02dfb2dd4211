"""App servers under test: one program per SDK, all with the same commands."""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any, Final

from tests.conformance.program import PATIENCE, ROOT, Program
from tests.support.service import MoorageProcess

COMMANDS: Final = {
    "azure": ["node", "conformance/apps/azure.mjs"],
    "native": ["node", "conformance/apps/native.mjs"],
    "node": ["node", "conformance/apps/node.mjs"],
    "python": [sys.executable, "-m", "conformance.apps.quickly", "python"],
    "threads": [sys.executable, "-m", "conformance.apps.quickly", "threads"],
}
"""`threads` is our Python SDK under a synchronous `socketio.Server`."""

NEEDED: Final = {
    "azure": ("tests/node/node_modules/.package-lock.json",),
    "native": ("tests/node/node_modules/.package-lock.json",),
    "node": ("sdk-node/node_modules/.package-lock.json", "sdk-node/dist/esm/index.js"),
}

_labels: Final = itertools.count(1)


class App(Program):
    """An app server. It serves no clients before `link`."""

    def __init__(self, sdk: str) -> None:
        self.sdk = sdk
        self.label = f"{sdk}-{next(_labels)}"
        """Its answer to the event "who" of other app servers."""
        self.server: str | None = None
        """Its server id, if the SDK exposes it."""
        assert all((ROOT / needed).is_file() for needed in NEEDED.get(sdk, ())), "not set up: make setup"
        super().__init__(self.label, COMMANDS[sdk])

    def link(self, connection_string: str, hub: str, **options: Any) -> App:
        """Link it to the service. `options` are those of socket.io's `Server`, in milliseconds and bytes.
        Raises `Refused`."""
        value = self.call(
            "start", connection_string=connection_string, hub=hub, label=self.label, options=options
        )
        self.server = value["server"]
        return self


def linked(sdk: str, service: MoorageProcess, hub: str, **options: Any) -> App:
    """A new app server of `hub`, ready for clients."""
    app = App(sdk)
    try:
        name = f'moorage_cluster_app_servers{{hub="{hub}"}}'
        before = service.metric(name) if service.link_url else 0.0
        app.link(service.connection_string, hub, **options)
        # The clients' node learns of it from the other node.
        end = time.monotonic() + PATIENCE
        while service.link_url and service.metric(name) <= before:
            assert time.monotonic() < end, "the app server is not announced"
        return app
    except BaseException:
        app.kill()
        raise


def started(*sdks: str) -> list[App]:
    """Several, side by side: starting a process is what takes the time."""
    return [App(sdk) for sdk in sdks]
