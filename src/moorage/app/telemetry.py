"""Whether this node sends traces and metrics over OTLP."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from moorage import logs
from moorage.config.extras import how_to_add
from moorage.metrics.metrics import Metrics
from moorage.otel import settings

if TYPE_CHECKING:
    from moorage.otel.sender import Sender

NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
log: Final = logs.get("otel")


def sender(environment: Mapping[str, str], metrics: Metrics, *, node: str, incarnation: str) -> Sender | None:
    """What sends them; None if nothing is to be sent. Raises `UsageError` for a variable that is wrong."""
    telemetry = settings.read(environment)
    if telemetry is None:
        return None
    if not all(_is_there(name) for name in NEEDED):
        # The variables may be there for other programs of the machine: no reason to refuse the start.
        log.warning("nothing is sent over OTLP", fix=how_to_add("otel"))
        return None
    # The libraries take a tenth of a second to load.
    from moorage.otel.sender import Sender  # noqa: PLC0415

    return Sender(telemetry, metrics, node=node, incarnation=incarnation)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
