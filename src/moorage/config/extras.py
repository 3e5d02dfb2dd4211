"""How to add an extra of the package, which is not published: from a wheel (docs/howto/install.md)."""

from __future__ import annotations

from typing import Literal

from moorage import __version__


def how_to_add(extra: Literal["server", "otel"]) -> str:
    """The command that installs the extra, for messages."""
    wheel = f"dist/moorage-{__version__}-py3-none-any.whl[{extra}]"
    return f'install the wheel with the extra "{extra}": pip install "{wheel}" (docs/howto/install.md)'
