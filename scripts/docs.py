"""Write the generated parts of docs/reference: settings, reasons, metrics, command help, what SDKs do.

    python scripts/docs.py           update the pages
    python scripts/docs.py --check   list outdated pages; exit code 1 if there are any

A page has its generated parts between two comment lines; the rest is written by hand. The test
suite runs the check, so every setting and every reason has its line in the manual.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

ROOT: Final = Path(__file__).resolve().parent.parent
REFERENCE: Final = ROOT / "docs" / "reference"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from moorage.cli.main import app  # noqa: E402 - run as a script, the package is found by the line above
from moorage.config.model import Config  # noqa: E402
from moorage.config.rules import expected, show  # noqa: E402
from moorage.config.schema import SETTINGS, Setting  # noqa: E402
from moorage.hub.settings import HubSettings  # noqa: E402
from moorage.metrics.catalogue import METRICS, WORKER_METRICS  # noqa: E402
from moorage.wire.reasons import CATALOGUE, Reason  # noqa: E402
from scripts import admin_docs  # noqa: E402

PLAIN: Final = {
    "server.host": "Address to listen on; `0.0.0.0` for all.",
    "server.port": "Port to listen on; 0 selects a free port.",
    "server.backlog": "Maximum connections that wait in the kernel to be accepted; `somaxconn` caps it.",
    "server.max_header_bytes": "Maximum bytes of a request's line and headers together.",
}
"""Descriptions of settings that have no docstring in the code."""

RANGES: Final = (
    (1000, "Ordinary ends: somebody asked for it"),
    (1100, "The service ends it, the client should come back"),
    (2000, "The client broke the protocol or a limit"),
    (2100, "An HTTP request of the client edge was refused"),
    (3000, "A token was refused"),
    (4000, "An app server's link"),
    (5000, "The data-plane API"),
    (5100, "The Admin API"),
    (6000, "Another node of the cluster"),
)

_PART: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def descriptions(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Maps each field to the docstring below it, on one line; fields of base classes too."""
    found: dict[str, str] = {}
    for base in struct.__bases__:
        if base is not msgspec.Struct:
            found |= descriptions(base)
    tree = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(tree, ast.ClassDef)
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
        ):
            assert isinstance(text.value, ast.Constant)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _sections() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    yield from _below(Config, "")
    yield "hubs.*", HubSettings
    yield "", Config


def _below(struct: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield prefix + field.name, field.type
            yield from _below(field.type, f"{prefix}{field.name}.")


def meaning(path: str) -> str:
    """The description of a setting, or ""."""
    prefix, _, name = path.rpartition(".")
    return PLAIN.get(path) or descriptions(dict(_sections())[prefix]).get(name, "")


def settings() -> str:
    """A table for each section, starting with the top level."""
    out: list[str] = []
    for prefix, struct in sorted(_sections(), key=lambda row: row[0] != ""):
        rows = [row for row in SETTINGS.values() if row.path.rpartition(".")[0] == prefix]
        title = f"`{prefix.replace('*', 'NAME')}`" if prefix else "Top level"
        intro = " ".join((inspect.getdoc(struct) or "").split()) if prefix else ""
        out += [f"### {title}", *(["", intro] if intro else []), ""]
        out += _table("Setting Default Accepts Meaning", [_setting(row) for row in rows])
    return "\n".join(out)


def _setting(row: Setting) -> list[str]:
    name = row.path.rpartition(".")[2]
    default = (
        f"`{' '.join(row.default)}`" if isinstance(row.default, tuple) else f"`{show(row.rule, row.default)}`"
    )
    # The page explains the forms of durations and sizes once, so they are removed from the rows.
    accepts = re.sub(r" \(.*?\)(?=,|$)", "", expected(row.rule))
    return [f"`{name}`", default if default != "``" else "none", accepts, meaning(row.path)]


def reasons() -> str:
    """A table for each range of reason numbers."""
    out: list[str] = []
    for index, (start, title) in enumerate(RANGES):
        end = RANGES[index + 1][0] if index + 1 < len(RANGES) else 10_000
        rows = [row for row in CATALOGUE.values() if start <= row.number < end]
        out += [f"### {start}: {title[0].lower()}{title[1:]}", ""]
        out += _table("Number Name Meaning Retry? HTTP WebSocket", [_reason(row) for row in rows])
    return "\n".join(out)


def _reason(row: Reason) -> list[str]:
    return [
        str(row.number),
        f"`{row.name}`",
        row.text,
        "yes" if row.retry else "no",
        str(row.http),
        str(row.ws),
    ]


def metrics() -> str:
    """One table of all metrics."""
    rows = [
        [f"`{row.shown}`", row.kind, ", ".join(f"`{label}`" for label in row.labels) or "none", row.help]
        for row in (*METRICS, *WORKER_METRICS)
    ]
    return "\n".join(_table("Name Type Labels Meaning", rows))


def commands() -> str:
    """The help text of every command."""
    out: list[str] = []
    root = click.Context(app, info_name="moorage", terminal_width=90, **app.context_settings)
    for context in _contexts(root):
        out += [f"### `{context.command_path}`", "", "```text", context.get_help().rstrip(), "```", ""]
    return "\n".join(out)


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name, command in sorted(context.command.commands.items()):
            yield from _contexts(click.Context(command, parent=context, info_name=name, terminal_width=90))


def apis() -> str:
    """A table for each group of `conformance/capabilities.json`."""
    text = (ROOT / "conformance" / "capabilities.json").read_text(encoding="utf-8")
    table = json.loads(text)
    out: list[str] = []
    for group in table["groups"]:
        out += [f"### {group['group']}", ""]
        heads = ["Socket.IO", "Azure's SDK", "Node.js SDK", "Python SDK"]
        out += _table(heads, [_api(row) for row in group["apis"]])
    out += ["### Not in the tables", ""]
    for why, names in table["beside"].items():
        out.append(f"* {', '.join(f'`{name}`' for name in names)}: {why}.")
    return "\n".join(out)


def _api(row: dict[str, Any]) -> list[str]:
    return [row["api"], _can(row["azure"]), _can(row["node"]), _can(row["python"], row["python_api"])]


def _can(cell: bool | str | dict[str, str], called: str = "") -> str:
    """`called` is the name of the API there."""
    if isinstance(cell, dict):
        return f"no: {cell['note']}" if cell["note"] else "no"
    notes = [note for note in (called, cell) if isinstance(note, str) and note]
    return ": ".join(notes) if called else ": ".join(["yes", *notes])


def admin() -> str:
    """The operations of the Admin API, and their fields."""
    return "\n".join(admin_docs.sections(descriptions, _columns))


def _columns(heads: str, rows: list[list[str]]) -> list[str]:
    return _table([head.replace("_", " ") for head in heads.split()], rows)


PARTS: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "reasons": reasons,
    "metrics": metrics,
    "commands": commands,
    "apis": apis,
    "admin": admin,
}


def render(page: str) -> str:
    """A page's text with its generated parts updated."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().rstrip()}\n\n{found[3]}", page)


def pages() -> list[Path]:
    """The pages that have generated parts."""
    return [path for path in sorted(REFERENCE.glob("*.md")) if _PART.search(path.read_text(encoding="utf-8"))]


def main(args: list[str]) -> int:
    """Write the pages, or compare them with `--check`. Returns the exit code."""
    stale = 0
    for path in pages():
        old = path.read_text(encoding="utf-8")
        new = render(old)
        if old == new:
            continue
        stale += 1
        if "--check" in args:
            print(f"{path.relative_to(ROOT)} is not up to date: run python scripts/docs.py")
        else:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return 1 if stale and "--check" in args else 0


def _table(heads: str | list[str], rows: list[list[str]]) -> list[str]:
    names = heads.split() if isinstance(heads, str) else heads
    lines = [names, ["---"] * len(names), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines] + [""]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
