"""How findings are shown."""

from __future__ import annotations

import json

import click

from moorage.cli.doctor.findings import Finding, document, failed, lines

FOUND = [
    Finding("port", "ok", "free"),
    Finding("clock", "fail", "wrong\n", "set it"),
    Finding("x", "skip", "-"),
]


def test_for_people_and_for_programs() -> None:
    text = click.unstyle(lines(FOUND))
    assert text.splitlines() == [
        "ok    port   free",
        "fail  clock  wrong\\n",
        "             set it",
        "skip  x      -",
    ]
    found = json.loads(document(FOUND, config="x"))
    assert (found["failed"], found["config"], found["checks"][1]["fix"]) == (True, "x", "set it")
    assert not failed(FOUND[:1])
