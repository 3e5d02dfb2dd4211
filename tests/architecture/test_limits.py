"""Budgets that keep the code readable: sizes, documentation without dead links, a test beside each file, and
nothing in the repository that only makes sense on one machine.

Every check is a function from text to complaints, tried on made-up text below.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "moorage"
TESTS = ROOT / "tests"

FILE_LINES = 450
FUNCTION_LINES = 60
"""Without the docstring."""

PORT_METHODS = 5

COVERED_ELSEWHERE: dict[str, str] = {
    "app/gauges.py": "app/test_service.py",
    "cli/service.py": "cli/test_main.py",
    "cli/settings.py": "cli/test_main.py",
    "cli/tokens.py": "cli/test_main.py",
    "cluster/ports.py": "contract/test_broker.py",
    "control/admin/answers.py": "control/admin/test_openapi.py",
    "control/admin/settings.py": "config/test_load.py",
    "wire/inspect/forms.py": "control/admin/test_openapi.py",
    "edge/clients/opening.py": "edge/clients/test_polling.py",
    "edge/http/refusals.py": "edge/http/test_upgrade.py",
    "edge/http/takeover.py": "edge/http/test_upgrade.py",
    "edge/settings.py": "config/test_load.py",
    "hub/recovery/causes.py": "hub/recovery/test_claims.py",
    "cluster/recovery/settings.py": "config/test_load.py",
    "wire/recovery/journal.py": "hub/journal/test_pages.py",
    "wire/recovery/moving.py": "cluster/recovery/test_fetches.py",
    "wire/recovery/losses.py": "cluster/recovery/test_losses.py",
    "wire/recovery/late.py": "cluster/recovery/test_late.py",
    "wire/recovery/handing.py": "cluster/recovery/test_handing.py",
    "edge/moorage/frames/answers.py": "edge/moorage/test_questions.py",
    "edge/moorage/causes.py": "edge/moorage/test_server.py",
    "edge/moorage/ports.py": "edge/moorage/test_link.py",
    "edge/moorage/frames/clients.py": "edge/moorage/test_session.py",
    "edge/moorage/frames/rooms.py": "edge/moorage/frames/test_dispatcher.py",
    "hub/settings.py": "config/test_load.py",
    "hub/ports.py": "hub/test_node.py",
    "sdk/aio/node_link.py": "sdk/aio/test_fleet.py",
    "sdk/aio/several.py": "sdk/aio/test_fleet.py",
    "sdk/tracing.py": "sdk/contract/test_tracing.py",
    "sdk/link/options.py": "sdk/aio/test_link.py",
    "sdk/link/ports.py": "sdk/aio/test_fleet.py",
    "metrics/catalogue.py": "metrics/test_metrics.py",
    "metrics/collector.py": "metrics/test_metrics.py",
    "metrics/gauges.py": "metrics/test_metrics.py",
    "metrics/histogram.py": "metrics/test_metrics.py",
    "wire/moorage/coverage.py": "wire/moorage/test_v1.py",
    "wire/moorage/handover.py": "wire/moorage/test_v1.py",
    "wire/moorage/hello.py": "wire/moorage/test_v1.py",
    "wire/moorage/recovery.py": "wire/moorage/test_v1.py",
    "wire/moorage/server_events.py": "wire/moorage/test_v1.py",
    "wire/moorage/tracing.py": "wire/moorage/test_v1.py",
    "wire/sizes.py": "config/test_load.py",
    "wire/trace/messages.py": "cluster/trace/test_traces.py",
    "wire/trace/scope.py": "hub/trace/test_watch.py",
    "wire/trace/seen.py": "hub/trace/test_tracer.py",
    "wire/moorage/rows.py": "wire/moorage/test_v1.py",
}
"""Module without a test file -> the test file that covers it. Only for a file that is declarations
through and through, or a part of a command line or of one object that a single file tests."""

FOREIGN = {
    "the address of a package registry": re.compile(
        r"pypi\.org|pythonhosted\.org|registry\.npmjs|registry\.yarnpkg|npmmirror\.com", re.IGNORECASE
    ),
    "somebody's home": re.compile(r"(?<![\w.}])/(?:root|home|Users)/[\w.]"),
    "a path of one machine": re.compile(r"(?<![\w./}-])/(?:work|tmp/w|opt/(?:pypi|wheels))\b"),
}
"""Text that a committed file must not contain, because it works nowhere else or becomes outdated."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef


@cache
def tree_of(text: str) -> ast.Module:
    """The syntax tree of a source. Several checks look at each."""
    return ast.parse(text)


def python_files(*folders: str) -> list[Path]:
    """Our own Python sources in `folders`."""
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "node_modules" not in path.parts
    ]


def size_faults(text: str) -> Iterator[str]:
    """Files and functions that are too long."""
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{lines} lines, more than {FILE_LINES}"
    for node in ast.walk(tree_of(text)):
        if isinstance(node, Function) and body_lines(node) > FUNCTION_LINES:
            yield f"{node.name}: {body_lines(node)} lines, more than {FUNCTION_LINES}"


def body_lines(node: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    assert node.end_lineno is not None
    total = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        first = node.body[0]
        assert first.end_lineno is not None
        total -= first.end_lineno - first.lineno + 1
    return total


def port_faults(text: str) -> Iterator[str]:
    """Ports with too many methods of their own. Properties are data."""
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.ClassDef) and any(
            re.match(r"Protocol\b", ast.unparse(b)) for b in node.bases
        ):
            methods = [each for each in node.body if isinstance(each, Function) and not each.decorator_list]
            if len(methods) > PORT_METHODS:
                yield f"{node.name}: {len(methods)} methods, more than {PORT_METHODS}: make a second port"


def docstring_faults(text: str) -> Iterator[str]:
    """Public modules, classes, functions and methods without a docstring. What overrides is documented
    where it was declared."""
    tree = tree_of(text)
    if not ast.get_docstring(tree):
        yield "the module has no docstring"
    for prefix, node in public_names(tree, ""):
        if not ast.get_docstring(node):
            yield f"{prefix}{node.name} has no docstring"


def public_names(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, Documented]]:
    """Functions and classes that can be reached from outside by public names alone."""
    for node in parent.body:
        if not isinstance(node, Documented) or node.name.startswith("_"):
            continue
        marks = {ast.unparse(mark).split(".")[-1] for mark in node.decorator_list}
        if marks & {"override", "overload", "setter"}:
            continue
        yield prefix, node
        if isinstance(node, ast.ClassDef):
            yield from public_names(node, f"{prefix}{node.name}.")


def reminder_faults(text: str) -> Iterator[str]:
    """TODO comments without a reference to an issue."""
    if not re.search("TODO|FIXME|XXX", text):
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and re.search(r"\b(TODO|FIXME|XXX)\b(?!.*#\d)", token.string):
            yield f"line {token.start[0]}: {token.string} names no issue"


def mirror_faults(modules: Iterable[str], tests: Iterable[str], elsewhere: dict[str, str]) -> Iterator[str]:
    """`wire/engineio.py` wants `wire/test_engineio.py`; an exception must be needed and must exist.

    Paths are relative to the package and to the tests' folder.
    """
    there = set(tests)
    for module in modules:
        path = Path(module)
        if path.name in {"__init__.py", "__main__.py"}:
            continue
        twin = str(path.with_name(f"test_{path.name}"))
        if twin in there and module in elsewhere:
            yield f"{module} has a test file now: take it off the list"
        elif twin not in there and elsewhere.get(module) not in there:
            yield f"{module} has no {twin}"


def foreign_faults(text: str) -> Iterator[str]:
    """Addresses and paths of one machine or one moment."""
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in FOREIGN.items():
            if found := pattern.search(line):
                yield f"line {number}: {what} ({found.group()})"


def link_faults(text: str, folder: Path) -> Iterator[str]:
    """Broken relative links of a Markdown file in `folder`. Code blocks contain no links."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose):
        if "://" not in target and not (folder / target).exists():
            yield f"{target} does not exist"


def committed_files() -> list[Path]:
    """The files in git; skips the test without git or outside a checkout, such as in an unpacked archive."""
    command = ["git", "ls-files", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def faults_in(paths: Iterable[Path], check: object) -> list[str]:
    """The faults that `check` finds in each file, with the file's name."""
    assert callable(check)
    return [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in paths
        for fault in check(path.read_text(encoding="utf-8", errors="replace"))
    ]


def test_sizes() -> None:
    assert faults_in(python_files("src", "tests", "bench", "fuzz", "scripts"), size_faults) == []


def test_ports_are_small() -> None:
    assert faults_in(python_files("src"), port_faults) == []


def test_docstrings() -> None:
    assert faults_in(python_files("src"), docstring_faults) == []


def test_reminders() -> None:
    assert faults_in(python_files("src", "tests", "bench", "fuzz", "scripts"), reminder_faults) == []


def test_every_module_has_its_test_file() -> None:
    modules = [str(path.relative_to(PACKAGE)) for path in python_files("src")]
    tests = [str(path.relative_to(TESTS)) for path in python_files("tests")]
    assert list(mirror_faults(modules, tests, COVERED_ELSEWHERE)) == []


def test_nothing_foreign_is_committed() -> None:
    assert faults_in(committed_files(), foreign_faults) == []


def test_links_between_documents() -> None:
    documents = [path for path in committed_files() if path.suffix == ".md"]
    faults = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in documents
        for fault in link_faults(path.read_text(encoding="utf-8"), path.parent)
    ]
    assert faults == []


def function(lines: int, docstring: int = 0) -> str:
    """A function with a number of lines, and more lines of docstring."""
    text = '    """' + "\n".join(["Doc."] * docstring) + '"""\n' if docstring else ""
    return "async def f():\n" + text + "    pass\n" * (lines - 1)


def test_the_size_check() -> None:
    assert list(size_faults(function(60, docstring=30))) == []
    assert list(size_faults(function(61))) == ["f: 61 lines, more than 60"]
    assert list(size_faults("x = 1\n" * 450)) == []
    assert list(size_faults("x = 1\n" * 451)) == ["451 lines, more than 450"]


def test_the_port_check() -> None:
    methods = "\n".join(f"    def m{number}(self) -> None: ..." for number in range(6))
    assert list(port_faults(f"class A:\n{methods}")) == []
    assert len(list(port_faults(f"class A(Protocol[T]):\n{methods}"))) == 1
    assert list(port_faults(f"class A(B, Protocol):\n    @property\n{methods}")) == []


SOUND = '''"""M."""
class A:
    """A."""
    def m(self):
        """M."""
    @override
    def n(self): pass
    def _p(self): pass
def _f(): pass
'''


def test_the_docstring_check() -> None:
    assert list(docstring_faults(SOUND)) == []
    assert list(docstring_faults("")) == ["the module has no docstring"]
    assert list(docstring_faults(SOUND + "async def g(): pass")) == ["g has no docstring"]
    assert list(docstring_faults(SOUND.replace('"""A."""', ""))) == ["A has no docstring"]
    assert list(docstring_faults(SOUND.replace("@override", ""))) == ["A.n has no docstring"]


def test_the_reminder_check() -> None:
    assert list(reminder_faults("x = 1  # TODO(#12) later\ny = 'TODO'\n")) == []
    assert list(reminder_faults("x = 1\n# FIXME later\n")) == ["line 2: # FIXME later names no issue"]


def test_the_mirror_check() -> None:
    modules = ["__init__.py", "wire/engineio.py", "cli.py"]
    assert list(mirror_faults(modules, ["wire/test_engineio.py", "test_cli.py"], {})) == []
    missing = "wire/engineio.py has no wire/test_engineio.py"
    assert list(mirror_faults(modules, ["test_cli.py"], {})) == [missing]
    assert list(mirror_faults(modules, ["test_cli.py"], {"wire/engineio.py": "test_cli.py"})) == []
    assert list(mirror_faults(["cli.py"], ["test_cli.py"], {"cli.py": "test_app.py"})) != []
    assert list(mirror_faults(["cli.py"], [], {"cli.py": "test_app.py"})) == ["cli.py has no test_cli.py"]


def test_the_link_check(tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    assert list(link_faults("[a](here.md) [b](here.md#part) [c](https://example.org/x)", tmp_path)) == []
    assert list(link_faults("```\n[a](x.md)\n```\nand `[a](x.md)`", tmp_path)) == []
    assert list(link_faults("see [a](gone.md#part)", tmp_path)) == ["gone.md does not exist"]


# Split, so that this file itself passes.
@pytest.mark.parametrize("parts", [("see https://PyPI", ".org/simple"), ("/", "root/.x"), ('cd "/', 'work"')])
def test_the_foreign_check_finds(parts: tuple[str, str]) -> None:
    assert len(list(foreign_faults("fine\n" + "".join(parts)))) == 1


@pytest.mark.parametrize("line", ["https://example.org/home/x", "docs/work/plan", "/workers", "/usr/bin/cc"])
def test_the_foreign_check_passes(line: str) -> None:
    assert list(foreign_faults(line)) == []
