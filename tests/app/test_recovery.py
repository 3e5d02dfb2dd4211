"""A folder that cannot be used. `tests/scenarios/recovery/test_loss.py` has what is stored and read again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from moorage.app import folder_lock
from moorage.app.service import Service
from moorage.cluster.recovery.settings import StoreSettings
from moorage.config.model import Config, KeySettings
from moorage.edge.settings import ServerSettings
from moorage.wire.errors import UsageError


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    recovery = StoreSettings(store="file", folder=str(file / "folder"))
    service = Service(Config(keys=KeySettings(primary="a" * 32), recovery=recovery))
    with pytest.raises(UsageError, match=r"recovery\.folder: .*: Not a directory"):
        await service.start()
    await service.stop(drain=False)


async def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "moorage.cluster.recovery.jetstream", None)
    recovery = StoreSettings(store="file", folder=str(tmp_path))
    with pytest.raises(UsageError, match=r"recovery\.store: needs a package: pip install"):
        Service(Config(keys=KeySettings(primary="a" * 32), recovery=recovery))
    Service(Config(keys=KeySettings(primary="a" * 32)))


async def test_two_services_on_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "WAIT_SECONDS", 0.2)
    recovery = StoreSettings(store="file", folder=str(tmp_path), max_bytes=1024 * 1024)
    config = Config(server=ServerSettings(port=0), keys=KeySettings(primary="a" * 32), recovery=recovery)
    first, second, third = Service(config), Service(config), Service(config)
    await first.start()
    with pytest.raises(UsageError, match=r"recovery\.folder: another service uses .*: end it, or name"):
        await second.start()
    await second.stop(drain=False)
    await first.stop(drain=False)
    await third.start()
    await third.stop(drain=False)
