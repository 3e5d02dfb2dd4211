"""Log lines of this process, as pytest's `caplog` keeps them."""

from __future__ import annotations

import logging
from typing import Any


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a line, with its text as `event`."""
    return {"event": record.msg, **vars(record).get("moorage_fields", {})}
