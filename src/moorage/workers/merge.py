"""Merges the metrics of several workers into one page of Prometheus' text format. Each sample gets the label
`node`. Samples of one metric stand together, below one description, as the format demands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from moorage.metrics.catalogue import WORKER_METRICS

_HELP: Final = b"# HELP "
_SAMPLE: Final = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{?)(?=(.))", re.MULTILINE)


def merge(pages: Mapping[str, bytes]) -> bytes:
    """One page from the pages of several nodes, by their names."""
    heads: dict[bytes, bytes] = {}
    samples: dict[bytes, list[bytes]] = {}
    for node, page in pages.items():
        for block in page.split(_HELP)[1:]:
            name = block.split(None, 1)[0]
            described, kind, rows = block.split(b"\n", 2)
            heads.setdefault(name, b"%s%s\n%s\n" % (_HELP, described, kind))
            samples.setdefault(name, []).append(_labelled(rows, node))
    return b"".join(head + b"".join(samples[name]) for name, head in heads.items())


def about_workers(answered: Mapping[str, bool], restarts: Mapping[str, int]) -> bytes:
    """The metrics about the workers themselves, by their names."""
    values: dict[str, Mapping[str, int]] = {"worker_up": answered, "worker_restarts": restarts}
    page = b""
    for metric in WORKER_METRICS:
        page += f"# HELP {metric.shown} {metric.help}\n# TYPE {metric.shown} {metric.kind}\n".encode()
        rows = values[metric.name].items()
        page += b"".join(_labelled(b"%s %d\n" % (metric.shown.encode(), value), node) for node, value in rows)
    return page


def _labelled(rows: bytes, node: str) -> bytes:
    """Samples with the label `node` in front of their own."""
    text = node.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n").encode()

    def with_label(match: re.Match[bytes]) -> bytes:
        if not match[2]:
            return b'%s{node="%s"}' % (match[1], text)
        return b'%s{node="%s"%s' % (match[1], text, b"" if match[3] == b"}" else b",")

    return _SAMPLE.sub(with_label, rows)
