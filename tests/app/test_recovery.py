"""A folder that cannot be used. `tests/scenarios/recovery/test_loss.py` has what is stored and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorage.app.service import Service
from moorage.cluster.recovery.settings import StoreSettings
from moorage.config.model import Config, KeySettings
from moorage.wire.errors import UsageError


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    recovery = StoreSettings(store="file", folder=str(file / "folder"))
    service = Service(Config(keys=KeySettings(primary="a" * 32), recovery=recovery))
    with pytest.raises(UsageError, match=r"recovery\.folder: .*: Not a directory"):
        await service.start()
    await service.stop(drain=False)
