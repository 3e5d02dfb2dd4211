"""The built package holds every file of the dashboard."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = "moorage/control/dashboard/static/"


def test_the_wheel_holds_the_files_and_the_licence(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "wheel", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([*pip, *options], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    source = ROOT / "src" / FOLDER
    wanted = {
        FOLDER + str(path.relative_to(source)): path.read_bytes()
        for path in source.rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as content:
        found = {name: content.read(name) for name in content.namelist() if name.startswith(FOLDER)}
        licences = [name for name in content.namelist() if "/licenses/" in name and "uplot" in name]
    assert found == wanted
    assert len(licences) == 1
