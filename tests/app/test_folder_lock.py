"""Locks of this process exclude each other as those of two processes do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moorage.app import folder_lock
from moorage.app.folder_lock import FolderLock
from moorage.wire.errors import UsageError


async def test_the_second_is_refused_until_the_first_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "WAIT_SECONDS", 0.1)
    first, second = FolderLock(tmp_path / "new"), FolderLock(tmp_path / "new")
    await first.take("recovery.folder")
    with pytest.raises(UsageError, match=r"recovery\.folder: another service uses .*: end it, or name"):
        await second.take("recovery.folder")
    first.give_back()
    first.give_back()
    await second.take("recovery.folder")
    second.give_back()


async def test_a_start_waits_for_the_former_process(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    await first.take("recovery.folder")
    asyncio.get_running_loop().call_later(0.05, first.give_back)
    await second.take("recovery.folder")
    second.give_back()
