"""Docstrings and comments name modules and what is in them. Such a name still exists after a move."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from moorage.config.schema import find

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "moorage"

REFERENCE = re.compile(r"`([a-z_]+(?:\.[A-Za-z_]+)+)(?:\(\))?`")
"""Such as `hub.ports.Observer`, in code marks."""


def reference_faults(text: str, package: Path) -> Iterator[str]:
    """Names in code marks that begin with a part of the package and lead nowhere. Settings have the same
    form, and some of them begin with the name of a part."""
    parts = {path.stem for path in package.iterdir()} - {"sdk"}
    for name in REFERENCE.findall(text):
        if (
            name.split(".")[0] in parts
            and find(name) is None
            and not leads_somewhere(name.split("."), package)
        ):
            yield f"`{name}` does not exist"


def leads_somewhere(names: list[str], package: Path) -> bool:
    """True if these are a folder, a module, or a module and a name that stands in it."""
    for depth in range(len(names), 0, -1):
        path, rest = package.joinpath(*names[:depth]), names[depth:]
        if path.is_dir():
            return not rest
        if path.with_suffix(".py").is_file():
            text = path.with_suffix(".py").read_text(encoding="utf-8")
            return all(re.search(rf"\b{name}\b", text) for name in rest)
    return False


def test_names_of_modules_exist() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    faults = [
        f"{path.relative_to(PACKAGE)}: {fault}"
        for path in files
        for fault in reference_faults(path.read_text(encoding="utf-8"), PACKAGE)
    ]
    assert faults == []


def test_the_check() -> None:
    text = "`hub.ports.Observer.opened`, `hub.commands`, `cluster.advertise`, `sio.eio`"
    assert list(reference_faults(text, PACKAGE)) == []
    text = "`hub.gone`, `hub.ports.Gone`"
    assert list(reference_faults(text, PACKAGE)) == [
        "`hub.gone` does not exist",
        "`hub.ports.Gone` does not exist",
    ]
