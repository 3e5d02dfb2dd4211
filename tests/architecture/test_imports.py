"""The import rule: which parts of `moorage` may import which, and what the pure layers must not use.

    wire <- engine <- hub <- { cluster, edge, upstream, control } <- config, app <- workers <- cli
    wire <- { sdk, load }, and load <- cli

Arrows point at what may be imported. An import inside a function or under `TYPE_CHECKING` counts like
any other, also in the search for cycles: a dependency that is hidden is still one. The checker itself is
tried on made-up sources below, since a checker that finds nothing proves nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"

PURE = frozenset({"wire", "engine", "hub"})
LEAVES = frozenset({"auth", "metrics", "logs"})
"""Small parts beside the layers, which use only `wire`."""
BRACES = frozenset({"cluster", "edge", "upstream", "control"})
"""They never import each other; `app` combines them."""

LOWER = PURE | LEAVES | BRACES
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "": frozenset(),
    "wire": frozenset(),
    "engine": frozenset({"wire"}),
    "hub": frozenset({"wire", "engine"}),
    **dict.fromkeys(LEAVES, frozenset({"wire"})),
    **dict.fromkeys(BRACES, PURE | LEAVES),
    "otel": frozenset({"wire", "metrics", "logs"}),
    "sdk": frozenset({"wire"}),
    "config": LOWER,
    "app": LOWER | {"config", "otel"},
    "workers": LOWER | {"config", "app"},
    "load": frozenset({"wire"}),
    "cli": LOWER | {"config", "app", "workers", "load"},
    "__main__": frozenset({"cli"}),
}
"""Part -> the other parts it may import. The package itself (`""`, the version) is open to all."""

PURE_THIRD_PARTY = frozenset({"msgspec", "orjson"})
IMPURE = frozenset(
    {"_thread", "asyncio", "concurrent", "http", "multiprocessing", "os", "queue", "sched", "select"}
    | {"selectors", "signal", "socket", "socketserver", "ssl", "subprocess", "threading", "time"}
)
"""Of the standard library: what waits, reads a clock or leaves the process. A pure layer gets time and
bytes as arguments, so that its tests move a number instead of a clock."""

ONLY_IN: Mapping[str, frozenset[str]] = {
    "picows": frozenset({"edge", "load", "sdk"}),
    "opentelemetry": frozenset({"otel", "sdk"}),
}
"""Libraries that only one part may import, so that only this part changes if they are replaced."""

BAGS = frozenset({"common", "helpers", "misc", "util", "utils"})
"""Names without a meaning. A helper belongs beside its only user, or into `wire`."""

Statement = ast.Import | ast.ImportFrom
Sources = Mapping[str, list[Statement]]


def statements(text: str) -> list[Statement]:
    """All import statements of a source, those inside functions too."""
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, Statement)]


def read_package(src: Path) -> dict[str, list[Statement]]:
    """Dotted module name -> its imports; a package has its own name, without `__init__`."""
    modules = {}
    for path in sorted((src / "moorage").rglob("*.py")):
        parts = path.relative_to(src).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = statements(path.read_text(encoding="utf-8"))
    return modules


def part_of(module: str) -> str:
    """`moorage.edge.server` -> `edge`. `logs_output` and `logs_quota` belong to `logs`."""
    first = module.partition(".")[2].partition(".")[0]
    return "logs" if first.startswith("logs_") else first


def imports_of(name: str, sources: Sources) -> Iterator[str]:
    """Every module that `name` imports, as absolute dotted names; `from a import b` gives `a.b` where
    that is a module of ours, else `a`."""
    package = name if is_package(name, sources) else name.rpartition(".")[0]
    for node in sources[name]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in sources else base


def is_package(name: str, sources: Sources) -> bool:
    """A package contains other modules. An empty one counts as a module, which makes no difference."""
    inside = f"{name}."
    return any(other.startswith(inside) for other in sources)


def layer_faults(sources: Sources) -> list[str]:
    """Imports against the arrows, and modules of a part that the rule does not know."""
    faults = []
    for name in sources:
        part = part_of(name)
        if part not in MAY_IMPORT:
            faults.append(f"{name}: {part} has no place in the import rule")
            continue
        allowed = MAY_IMPORT[part] | {part, ""}
        for target in imports_of(name, sources):
            if target.split(".")[0] == "moorage" and part_of(target) not in allowed:
                faults.append(f"{name} imports {target}: {part or 'moorage'} may not know {part_of(target)}")
    return faults


def purity_faults(sources: Sources) -> list[str]:
    """I/O, clocks and third parties in the pure layers; a library outside the one part that may know it."""
    faults = []
    for name in sources:
        part = part_of(name)
        for target in imports_of(name, sources):
            root = target.split(".")[0]
            if part in PURE and root in IMPURE:
                faults.append(f"{name} imports {target}: {part} does no I/O and reads no clock")
            known = root in sys.stdlib_module_names or root == "moorage" or root in PURE_THIRD_PARTY
            if part in PURE and not known:
                faults.append(f"{name} imports {target}: of third parties {part} may know msgspec and orjson")
            if part not in ONLY_IN.get(root, {part}):
                faults.append(f"{name} imports {target}: only {', '.join(sorted(ONLY_IN[root]))} may")
    return faults


def cycle_faults(sources: Sources) -> list[str]:
    """Modules that import each other, directly or not; one fault per cycle."""
    graph = {
        name: sorted({target for target in imports_of(name, sources) if target in sources})
        for name in sources
    }
    faults: list[str] = []
    finished: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        if name in way:
            faults.append(" -> ".join([*way[way.index(name) :], name]))
        elif name not in finished:
            for target in graph[name]:
                visit(target, [*way, name])
            finished.add(name)

    for name in graph:
        visit(name, [])
    return faults


def name_faults(sources: Sources) -> list[str]:
    """Modules and packages with a name such as `utils`."""
    return [f"{name}: name it after what it holds" for name in sources if set(name.split(".")) & BAGS]


CHECKS = (layer_faults, purity_faults, cycle_faults, name_faults)


def all_faults(sources: Sources) -> list[str]:
    """The faults of all checks."""
    return [fault for check in CHECKS for fault in check(sources)]


def test_the_package_follows_the_import_rule() -> None:
    sources = read_package(SRC)
    assert {"moorage", "moorage.wire.reasons", "moorage.hub.node"} <= set(sources), "the walk works"
    assert all_faults(sources) == []


def made_up(**files: str) -> dict[str, list[Statement]]:
    """Sources of a correct package; `files` adds modules, with `__` for a dot."""
    texts = {
        "": "__version__ = '1'",
        "wire": "",
        "wire.errors": "import msgspec\nfrom moorage import __version__",
        "engine": "",
        "engine.session": "from ..wire import errors\nimport datetime",
        "hub": "",
        "hub.node": "import orjson\nfrom moorage.engine.session import Session",
        "edge": "",
        "edge.server": "import picows, asyncio\nfrom moorage.hub import node\nfrom . import settings",
        "edge.settings": "import msgspec\nif TYPE_CHECKING:\n    from moorage.hub import node",
        "control": "",
        "control.rest": "from moorage.hub.node import Node\nfrom moorage.metrics import COUNTER",
        "metrics": "import prometheus_client\nfrom moorage.wire import errors",
        "config": "from moorage.edge.settings import ServerSettings\nimport moorage.config.files",
        "config.files": "import yaml",
        "app": "from moorage import config\nimport moorage.edge.server\nimport moorage.control.rest",
        "cli": "import cyclopts\nfrom moorage import app",
        "__main__": "from moorage.cli.main import main",
        **{name.replace("___", "."): text for name, text in files.items()},
    }
    return {f"moorage.{name}".rstrip("."): statements(text) for name, text in texts.items()}


def test_a_correct_package_has_no_faults() -> None:
    assert all_faults(made_up()) == []


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("wire___bad", "from moorage.engine import session", "moorage.wire.bad imports moorage.engine"),
        ("wire___bad", "import moorage.hub.node", "wire may not know hub"),
        ("engine___bad", "from ..hub.node import Node", "engine may not know hub"),
        ("engine___bad", "from .. import hub", "engine may not know hub"),
        ("hub___bad", "from moorage.edge.server import Server", "hub may not know edge"),
        ("hub___bad", "import moorage.logs", "hub may not know logs"),
        ("hub___bad", "from moorage.metrics import Metrics", "hub may not know metrics"),
        ("hub___bad", "if TYPE_CHECKING:\n    import moorage.metrics", "hub may not know metrics"),
        ("wire___bad", "import moorage.metrics", "wire may not know metrics"),
        ("edge___bad", "from moorage.control import rest", "edge may not know control"),
        ("control___bad", "from moorage.edge.settings import ServerSettings", "control may not know edge"),
        ("edge___bad", "def late():\n    from moorage import app", "edge may not know app"),
        ("metrics", "import moorage.engine.session", "metrics may not know engine"),
        ("config___bad", "import moorage.cli", "config may not know cli"),
        ("app___bad", "from moorage.cli.main import main", "app may not know cli"),
        ("sdk___bad", "from moorage.hub import node", "sdk may not know hub"),
        ("", "if TYPE_CHECKING:\n    import moorage.wire", "moorage may not know wire"),
        ("attic", "", "attic has no place in the import rule"),
        ("hub___bad", "import asyncio", "hub does no I/O"),
        ("wire___bad", "from time import monotonic", "wire does no I/O"),
        ("engine___bad", "if TYPE_CHECKING:\n    from socket import socket", "engine does no I/O"),
        ("wire___bad", "import uvicorn", "of third parties wire may know msgspec and orjson"),
        ("hub___bad", "import uvloop", "of third parties hub may know msgspec and orjson"),
        ("control___bad", "from picows import WSFrame", "only edge, load, sdk may"),
        ("edge___settings", "from moorage.edge import server", "edge.server -> moorage.edge.settings"),
        (
            "edge___settings",
            "if TYPE_CHECKING:\n    from . import server",
            "edge.server -> moorage.edge.settings",
        ),
        ("edge___settings", "def late():\n    from . import server", "edge.server -> moorage.edge.settings"),
        ("edge___server", "import moorage.edge.server", "moorage.edge.server -> moorage.edge.server"),
        ("edge___utils", "", "moorage.edge.utils: name it"),
        ("wire___common___text", "", "moorage.wire.common.text: name it"),
    ],
)
def test_each_violation_of_the_rule_is_found(module: str, text: str, fault: str) -> None:
    faults = all_faults(made_up(**{module: text}))
    assert any(fault in found for found in faults), faults
    assert len(faults) == 1, "one break, one fault"
