"""Checks for packages that are missing or of an unsupported version, and for options without effect."""

from __future__ import annotations

import logging
from importlib import metadata, util
from typing import Any, Final

from moorage.wire.errors import UsageError

OLDEST: Final = (5, 18)
"""The oldest release of python-socketio that is tested. Every later 5.x is supported."""

_NEEDED: Final = {"orjson": "orjson", "picows": "picows", "msgspec": "msgspec", "socketio": "python-socketio"}
"""Modules, and the packages that contain them."""

_log = logging.getLogger("moorage.sdk")

for _module, _package in _NEEDED.items():
    if util.find_spec(_module) is None:
        raise ImportError(
            f"moorage.sdk needs the package {_package}, which is not installed: `pip install {_package}`, or "
            "install moorage again without --no-deps",
            name=_module,
        )


def check_version() -> None:
    """Raises `UsageError` for a python-socketio that is not supported."""
    found = metadata.version("python-socketio")
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    if not OLDEST <= numbers < (OLDEST[0] + 1,):
        oldest = ".".join(map(str, OLDEST))
        raise UsageError(
            f"python-socketio {found} is not supported: Moorage needs {oldest} or a later 5.x, "
            f"pip install 'python-socketio>={oldest},<6'"
        )


def warn_of_origins(sio: Any) -> None:
    """Log a warning if the app restricts origins: only the service decides which pages may connect."""
    if sio.eio.cors_allowed_origins is not None:
        _log.warning(
            "cors_allowed_origins has no effect behind Moorage: list the origins in the service's setting "
            "cors.allow_origins"
        )
