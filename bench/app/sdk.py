"""The Python app behind a service: our Python SDK, on uvloop like the native half."""

from __future__ import annotations

import os

import uvloop

from bench.app.handlers import control, server
from moorage.sdk import use_moorage


async def main() -> None:
    """Join the service, and take commands."""
    sio = server()
    await use_moorage(
        sio, hub=os.environ["BENCH_HUB"], connection_string=os.environ["BENCH_CONNECTION_STRING"]
    )
    await control(sio, {})


uvloop.run(main())
