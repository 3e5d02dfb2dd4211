"""Messages name extras that there are, and a wheel as `make dist` names it."""

from __future__ import annotations

import tomllib

from moorage import __version__
from moorage.config.extras import how_to_add
from tests.support.service import ROOT


def test_how_to_add_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs/howto/install.md").read_text()
    for extra in ("server", "otel"):
        assert extra in project["optional-dependencies"]
        text = how_to_add(extra)
        assert f'pip install "dist/moorage-{__version__}-py3-none-any.whl[{extra}]"' in text
    assert f"dist/moorage-{__version__}-py3-none-any.whl" in page
