"""The blocks of code in the manual: settings are accepted, commands have options that exist, and code can be
parsed. Other files here run the longer examples."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

from moorage.cli.main import app
from moorage.config.load import load
from tests.support.pages import ROOT

OTHERS = {"rules", "rule_files"}
"""Keys of YAML files that are not Moorage's: Prometheus and its adapter."""
PUNCTUATION = set("&|;<>()")


class Block(NamedTuple):
    """A block of code of one language."""

    page: str
    line: int
    text: str


def pages() -> list[Path]:
    return [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md", ROOT / "sdk-node" / "README.md"]


def blocks(*languages: str) -> list[Block]:
    """The blocks of all pages. A part of a longer example may be indented."""
    start = rf"^( *)```(?:{'|'.join(languages)})\n(.*?)^\1```"
    return [
        Block(str(path.relative_to(ROOT)), text.count("\n", 0, found.start()) + 1, textwrap.dedent(found[2]))
        for path in pages()
        for text in [path.read_text()]
        for found in re.finditer(start, text, re.DOTALL | re.MULTILINE)
    ]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.mark.parametrize("block", blocks("yaml"), ids=named)
def test_settings(block: Block, tmp_path: Path) -> None:
    if OTHERS & set(yaml.safe_load(block.text)):
        return
    keys = tmp_path / "key"
    text = re.sub(
        r"(key_file): (\S*run/secrets\S+)", lambda found: f"{found[1]}: {keys}-{found.start()}", block.text
    )
    for path in re.findall(rf"{keys}-\d+", text):
        Path(path).write_text(path[-3:].zfill(32))
    text = re.sub(r'"\.\.\."', lambda found: f'"{found.start():032}"', text)
    (file := tmp_path / "moorage.yaml").write_text(text)
    load(file, {})


def commands() -> Iterator[Block]:
    """The commands of Moorage, each in one line. Variables and the output of other commands are `1`."""
    for block in blocks("sh", "bash"):
        text = re.sub(r"\\\n\s*", " ", block.text)
        text = re.sub(r"\$\([^()]*\)|\$\w+", "1", text)
        for line in text.splitlines():
            for found in re.findall(r"^\s*(?:\w+=\S+ )*(moorage [a-z-].*)", line):
                yield Block(block.page, block.line, found)


def words(line: str) -> list[str]:
    """The arguments, without what the shell does with the command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found = list(lexer)
    end = next((at for at, word in enumerate(found) if word and set(word) <= PUNCTUATION), len(found))
    return found[1:end]


@pytest.mark.parametrize("block", list(commands()), ids=named)
def test_commands(block: Block) -> None:
    command: click.Command = app
    args = words(block.text)
    context = command.make_context("moorage", args)
    while isinstance(command, click.Group) and context._protected_args:
        _, inner, args = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        command = inner
        context = command.make_context(command.name, args, parent=context)


@pytest.mark.parametrize("block", blocks("python"), ids=named)
def test_python(block: Block) -> None:
    compile(block.text, block.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)


CHECK = """
const { SourceTextModule } = require("node:vm");
const faults = [];
for (const [where, text] of JSON.parse(process.argv[1])) {
  try {
    new SourceTextModule(text);
  } catch (error) {
    faults.push(`${where}: ${error.message}`);
  }
}
console.log(faults.join("\\n"));
"""


def test_javascript() -> None:
    found = json.dumps([(named(block), block.text) for block in blocks("js", "ts")])
    shown = subprocess.run(
        ["node", "--no-warnings", "--experimental-vm-modules", "-e", CHECK, found],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == ""
