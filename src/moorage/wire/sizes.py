"""Numbers of bytes in settings, for every part that declares settings."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

GIB: Final = 1024**3

Size = Annotated[int, Meta(extra={"kind": "size"})]
"""A number of bytes. The configuration also accepts forms such as `64KiB`."""
