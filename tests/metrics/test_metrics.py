from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from moorage.metrics.catalogue import LAG_SAMPLES, METRICS
from moorage.metrics.gauges import Cluster, Gauges, Recovery, Traffic
from moorage.metrics.histogram import Histogram
from moorage.metrics.metrics import DOORS, MAX_HUBS, MAX_OPERATIONS, Metrics
from moorage.wire import reasons

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(metrics: Metrics) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_every_described_metric_is_shown_with_exactly_its_labels() -> None:
    metrics = Metrics("1.2.3")
    metrics.disconnects["slow-client"] += 1
    metrics.refusals["client", "bad-request"] += 1
    metrics.faults["links"] += 1
    metrics.admin_requests["hubs", 200] += 1
    metrics.api_requests["send_to_all", 202] += 1
    metrics.gauges = Gauges(
        connections=lambda: {("chat", "websocket"): 1},
        sockets=lambda: {"chat": 1},
        rooms=lambda: {"chat": 1},
        app_servers=lambda: {"chat": 1},
        cluster_app_servers=lambda: {"chat": 1},
        hub_messages=lambda: {"chat": (1, 1)},
        link_connections=lambda: {("chat", "azure"): 1},
        outbox_bytes=lambda: 1,
        cluster=lambda: Cluster(bad={"garbage": 1}),
        recovery=lambda: Recovery(refused={"unknown": 1}),
        traffic=lambda: Traffic(handovers={"moved": 1}),
    )
    shown: dict[str, set[str]] = {}
    kinds: dict[str, str] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        kinds[family.name] = family.type
        for sample in family.samples:
            shown.setdefault(family.name, set()).update(set(sample.labels) - {"le"})
    for metric in METRICS:
        assert kinds[f"moorage_{metric.name}"] == metric.kind
        assert shown[f"moorage_{metric.name}"] == set(metric.labels)
    assert {name for name in kinds if name.startswith("moorage_")} == {f"moorage_{m.name}" for m in METRICS}
    assert "process_resident_memory_bytes" in kinds


def test_names_follow_the_conventions() -> None:
    for metric in METRICS:
        assert not metric.name.endswith("_total") and metric.shown.startswith("moorage_")
        assert metric.shown.endswith("_total") is (metric.kind == "counter")
        if metric.kind == "histogram":
            assert metric.name.endswith(("_seconds", "_bytes"))
        assert not {"sid", "id", "user", "room", "group", "connection"} & set(metric.labels)


def test_plain_integers_come_out_as_counters() -> None:
    metrics = Metrics("1")
    metrics.connects += 3
    metrics.received_websocket += 5
    metrics.gauges = Gauges(traffic=lambda: Traffic(sent_polling=7, bytes_sent_websocket=100))
    metrics.bytes_sent_websocket += 11
    metrics.link_frames_sent += 13
    found = scrape(metrics)
    assert found[key("moorage_connects_total")] == 3
    assert found[key("moorage_messages_received_total", transport="websocket")] == 5
    assert found[key("moorage_messages_received_total", transport="polling")] == 0
    assert found[key("moorage_messages_sent_total", transport="polling")] == 7
    assert found[key("moorage_bytes_sent_total", transport="websocket")] == 111
    assert found[key("moorage_tunnel_frames_sent_total")] == 13
    assert found[key("moorage_build_info", version="1")] == 1
    metrics.connects += 1
    assert scrape(metrics)[key("moorage_connects_total")] == 4


def test_labels_from_closed_sets_stay_in_them() -> None:
    metrics = Metrics("1")
    for row in reasons.CATALOGUE:
        metrics.disconnects[row] += 1
    metrics.disconnects["made-up"] += 2
    metrics.refusals["link", "token-expired"] += 1
    metrics.refusals["window", "made-up"] += 3  # type: ignore[index]
    found = scrape(metrics)
    assert found[key("moorage_disconnects_total", reason="slow-client")] == 1
    assert found[key("moorage_disconnects_total", reason="other")] == 2
    assert found[key("moorage_refusals_total", door="link", reason="token-expired")] == 1
    assert found[key("moorage_refusals_total", door="other", reason="other")] == 3
    assert DOORS == ("client", "link", "api", "http", "admin")


def test_operations_are_capped() -> None:
    metrics = Metrics("1")
    for number in range(MAX_OPERATIONS + 10):
        metrics.api_requests[f"op{number}", 200] += 1
    metrics.api_requests["op0", 99999] += 1
    found = {
        labels: n for (name, labels), n in scrape(metrics).items() if name == "moorage_api_requests_total"
    }
    assert len(found) == MAX_OPERATIONS + 2
    assert found[frozenset({("operation", "other"), ("status", "200")})] == 10
    assert found[frozenset({("operation", "op0"), ("status", "other")})] == 1


def hubs(metrics: Metrics) -> dict[str, float]:
    return {
        dict(labels)["hub"]: n for (name, labels), n in scrape(metrics).items() if name == "moorage_sockets"
    }


def test_strangers_hubs_share_one_label_when_there_are_too_many() -> None:
    rows = {f"hub{number:03}": 1 for number in range(MAX_HUBS + 20)} | {"zz-configured": 5}
    metrics = Metrics("1", hubs=["zz-configured"])
    metrics.gauges = Gauges(sockets=lambda: rows, connections=lambda: {(hub, "polling"): 1 for hub in rows})
    found = hubs(metrics)
    assert len(found) == MAX_HUBS + 1
    assert (found["zz-configured"], found["other"]) == (5, 21)
    assert sum(found.values()) == sum(rows.values())

    # A name that is shown stays shown, though one that sorts before it arrives.
    rows["aaa"] = 1
    assert "aaa" not in hubs(metrics)
    # A hub that has gone frees its place.
    del rows["hub000"]
    assert "aaa" in hubs(metrics)


def test_messages_of_hubs_keep_their_label_and_are_never_counted_twice() -> None:
    rows = {f"hub{number:03}": (1, 2) for number in range(MAX_HUBS)}
    metrics = Metrics("1")
    metrics.gauges = Gauges(hub_messages=lambda: rows)
    rows |= {"aaa": (5, 6), "other": (1, 1)}
    received, sent = (
        {dict(labels)["hub"]: value for (name, labels), value in scrape(metrics).items() if name == wanted}
        for wanted in ("moorage_hub_messages_received_total", "moorage_hub_messages_sent_total")
    )
    assert (received["hub099"], sent["hub099"]) == (1, 2)
    assert (received["other"], sent["other"]) == (6, 7)
    assert len(sent) == MAX_HUBS + 1


def test_a_histogram() -> None:
    histogram = Histogram((1, 10))
    for value in (0, 1, 1.5, 10, 11):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2), ("10.0", 4), ("+Inf", 5)]
    assert histogram.total == 23.5


def test_histograms_are_shown_cumulated() -> None:
    metrics = Metrics("1")
    metrics.upstream_seconds["connect"].observe(0.002)
    metrics.send_queue_bytes.observe(0)
    found = scrape(metrics)
    assert found[key("moorage_upstream_seconds_bucket", event="connect", le="0.001")] == 0
    assert found[key("moorage_upstream_seconds_bucket", event="connect", le="0.0025")] == 1
    assert found[key("moorage_upstream_seconds_count", event="connect")] == 1
    assert found[key("moorage_upstream_seconds_sum", event="connect")] == 0.002
    assert found[key("moorage_upstream_seconds_count", event="message")] == 0
    assert found[key("moorage_send_queue_bytes_bucket", le="0.0")] == 1


def test_the_lag_is_the_last_sample_and_the_largest_of_the_last_minute() -> None:
    metrics = Metrics("1")
    assert scrape(metrics)[key("moorage_event_loop_lag_max_seconds")] == 0
    metrics.lag(0.5)
    metrics.lag(0.1)
    found = scrape(metrics)
    assert found[key("moorage_event_loop_lag_seconds")] == 0.1
    assert found[key("moorage_event_loop_lag_max_seconds")] == 0.5
    for _ in range(LAG_SAMPLES):
        metrics.lag(0.2)
    assert scrape(metrics)[key("moorage_event_loop_lag_max_seconds")] == 0.2


def test_two_nodes_in_one_process_do_not_meet() -> None:
    one, two = Metrics("1"), Metrics("1")
    one.connects += 1
    assert scrape(one)[key("moorage_connects_total")] == 1
    assert scrape(two)[key("moorage_connects_total")] == 0
