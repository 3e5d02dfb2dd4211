"""The merged page of metrics, read by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from moorage.metrics.metrics import Metrics
from moorage.workers.merge import about_workers, merge


def test_each_sample_names_its_node() -> None:
    one, two = Metrics("1"), Metrics("1")
    one.connects, two.connects = 3, 4
    two.disconnects["client-closed"] = 1
    odd = 'a"b\\c'
    families = {
        family.name: family
        for family in text_string_to_metric_families(merge({"one": one.render(), odd: two.render()}).decode())
    }
    connects = families["moorage_connects"]
    assert [(sample.labels, sample.value) for sample in connects.samples] == [
        ({"node": "one"}, 3),
        ({"node": odd}, 4),
    ]
    (row,) = families["moorage_disconnects"].samples
    assert (row.labels, row.value) == ({"node": odd, "reason": "client-closed"}, 1)
    assert all("node" in sample.labels for family in families.values() for sample in family.samples)
    assert "process_open_fds" in families


def test_a_metric_is_described_once() -> None:
    page = Metrics("1").render()
    merged = merge({"one": page, "two": page})
    assert merged.count(b"# HELP moorage_connects_total ") == 1
    assert merged.count(b"# TYPE moorage_connects_total ") == 1
    assert merged.count(b"# HELP") == page.count(b"# HELP")


def test_a_missing_worker_is_named() -> None:
    page = about_workers({"one": True, "two": False}, {"one": 0, "two": 5}).decode()
    values = {
        (sample.name, sample.labels["node"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert values == {
        ("moorage_worker_up", "one"): 1,
        ("moorage_worker_up", "two"): 0,
        ("moorage_worker_restarts_total", "one"): 0,
        ("moorage_worker_restarts_total", "two"): 5,
    }
