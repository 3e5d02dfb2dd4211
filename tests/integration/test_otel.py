"""Traces and metrics of a real service at a real OTLP receiver, with a stock client and an app server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from moorage.sdk import use_moorage
from tests.support.programs import free_port
from tests.support.python_client import PATIENCE, leave
from tests.support.service import MoorageProcess

SECONDS = 30.0
RESOURCE = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[OtelTapHttpProtobufReceiver, str]]:
    """A receiver, and its address."""
    port = free_port()
    settings = OtelTapHttpProtobufReceiverSettings(http_port=port)
    async with OtelTapHttpProtobufReceiver(settings) as tap:
        yield tap, f"http://127.0.0.1:{port}"


def environment(url: str, **more: str) -> dict[str, str]:
    """The standard variables, with short delays."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        **RESOURCE,
        **more,
    }


def attributes(row: Any) -> dict[str, Any]:
    """The attributes of a span or data point of the protocol."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in row.attributes}


async def echo(service: MoorageProcess) -> tuple[socketio.AsyncServer, Any]:
    """An app server that answers `echo`, and one of whose handlers fails."""
    sio = socketio.AsyncServer(async_mode="asgi")

    async def broken(sid: str) -> None:
        raise ValueError("no")

    sio.on("echo", lambda sid, text: text)
    sio.on("broken", broken)

    return sio, await use_moorage(sio, hub="app", connection_string=service.connection_string)


async def client_of(service: MoorageProcess, transport: str = "websocket") -> socketio.AsyncClient:
    client = socketio.AsyncClient()
    await client.connect(service.url, transports=[transport], wait_timeout=PATIENCE)
    return client


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_an_event_is_a_span_at_the_collector(
    receiver: tuple[OtelTapHttpProtobufReceiver, str], transport: str
) -> None:
    tap, url = receiver
    with MoorageProcess(env=environment(url)) as service:
        _sio, moorage = await echo(service)
        client = await client_of(service, transport)
        found = asyncio.ensure_future(tap.await_trace(lambda span: span.name == "receive echo", SECONDS))
        assert await client.call("echo", "hello") == "hello"
        span = await found
        facts = attributes(span)
        assert facts["moorage.outcome"] == "handled"
        assert facts["moorage.hub"] == "app"
        assert facts["messaging.destination.name"] == "/"
        assert facts["moorage.app_server.id"] == moorage.server_id
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < SECONDS * 1e9
        failed = asyncio.ensure_future(tap.await_trace(lambda span: span.name == "receive broken", SECONDS))
        await client.emit("broken")
        assert attributes(await failed)["moorage.outcome"] == "failed"
        await leave(client)
        await moorage.close()


async def test_metrics_are_at_the_collector(receiver: tuple[OtelTapHttpProtobufReceiver, str]) -> None:
    tap, url = receiver
    with MoorageProcess(env=environment(url, OTEL_TRACES_EXPORTER="none")) as service:
        _sio, moorage = await echo(service)

        def is_open(metric: Any) -> bool:
            return metric.name == "moorage_connections" and any(
                point.as_int == 1 and attributes(point) == {"hub": "app", "transport": "websocket"}
                for point in metric.gauge.data_points
            )

        found = asyncio.ensure_future(tap.await_metric(is_open, SECONDS))
        ages = asyncio.ensure_future(
            tap.await_metric(lambda row: row.name == "moorage_connection_age_seconds", SECONDS)
        )
        client = await client_of(service)
        await found
        histogram = (await ages).histogram
        assert (
            len(histogram.data_points[0].bucket_counts) == len(histogram.data_points[0].explicit_bounds) + 1
        )
        await leave(client)
        await moorage.close()


async def test_a_collector_that_is_not_there_changes_nothing() -> None:
    with MoorageProcess(env=environment(f"http://127.0.0.1:{free_port()}")) as service:
        _sio, moorage = await echo(service)
        client = await client_of(service)
        assert [await client.call("echo", n) for n in range(50)] == list(range(50))
        await leave(client)
        await moorage.close()


def test_a_variable_that_is_wrong_stops_the_start() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "moorage", "dev", "--port", "0"],
        env=os.environ | environment("http://127.0.0.1:9", OTEL_TRACES_SAMPLER="often"),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert "OTEL_TRACES_SAMPLER: expected one of always_on, " in done.stderr
