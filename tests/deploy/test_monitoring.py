"""The alert rules and the Grafana dashboard: they ask for metrics that exist, each alert has its page, and
promtool shows that each alert fires when it should and is silent otherwise."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from moorage.metrics.catalogue import METRICS, WORKER_METRICS
from moorage.wire.reasons import CATALOGUE
from tests.support.pages import ROOT

ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARD = ROOT / "deploy/grafana/moorage.json"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
PANELS = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
KNOWN = {
    name
    for row in (*METRICS, *WORKER_METRICS)
    for name in ([f"{row.shown}_bucket"] if row.kind == "histogram" else [row.shown])
}
PROCESS = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
}

NODE = 'instance="a:8080", job="moorage"'
FIRES: dict[str, dict[str, str]] = {
    "MoorageDown": {f"up{{{NODE}}}": "0+0x30"},
    "MoorageHasNoAppServer": {
        f'moorage_refusals_total{{{NODE}, door="client", reason="no-app-server"}}': "0+60x30"
    },
    "MoorageClientsFall": {
        f'moorage_disconnects_total{{{NODE}, reason="transport-lost"}}': "0+0x10 0+100x20",
        f'moorage_connections{{{NODE}, hub="app", transport="websocket"}}': "500+0x30",
    },
    "MoorageReconnectLoop": {
        f"moorage_connects_total{{{NODE}}}": "0+600x30",
        f'moorage_connections{{{NODE}, hub="app", transport="websocket"}}': "100+0x30",
    },
    "MoorageClientsAreSlow": {
        f"moorage_slow_client_closes_total{{{NODE}}}": "0+10x30",
        f'moorage_connections{{{NODE}, hub="app", transport="websocket"}}': "100+0x30",
    },
    "MoorageRefusesAppServers": {
        f'moorage_refusals_total{{{NODE}, door="link", reason="token-signature"}}': "0+12x30"
    },
    "MoorageLosesCalls": {f"moorage_tunnel_gap_answers_total{{{NODE}}}": "0+1x30"},
    "MoorageAppServerIsSlow": {
        f'moorage_upstream_seconds_bucket{{{NODE}, event="connect", le="1.0"}}': "0+0x30",
        f'moorage_upstream_seconds_bucket{{{NODE}, event="connect", le="2.5"}}': "0+60x30",
        f'moorage_upstream_seconds_bucket{{{NODE}, event="connect", le="+Inf"}}': "0+60x30",
    },
    "MoorageIsLate": {f"moorage_event_loop_lag_max_seconds{{{NODE}}}": "0.3+0x30"},
    "MoorageNeedsItsCore": {f"process_cpu_seconds_total{{{NODE}}}": "0+57x30"},
    "MoorageNeedsFiles": {
        f"process_open_fds{{{NODE}}}": "900+0x30",
        f"process_max_fds{{{NODE}}}": "1000+0x30",
    },
    "MoorageQueuesGrow": {f"moorage_outbox_bytes{{{NODE}}}": "400000000+0x30"},
    "MoorageWorkerIsDown": {f'moorage_worker_up{{{NODE}, node="web1-2"}}': "0+0x30"},
    "MoorageWorkerRestarts": {f'moorage_worker_restarts_total{{{NODE}, node="web1-2"}}': "0+1x30"},
    "MoorageNodesDoNotHearEachOther": {
        f"moorage_cluster_nodes{{{NODE}}}": "3+0x30",
        'moorage_cluster_nodes{instance="b:8080", job="moorage"}': "1+0x30",
    },
    "MoorageLosesMessagesBetweenNodes": {f"moorage_cluster_gaps_total{{{NODE}}}": "0+1x30"},
    "MoorageHasADefect": {f'moorage_faults_total{{{NODE}, part="links"}}': "0+1x30"},
    "MoorageLosesLogLines": {f"moorage_log_lines_dropped_total{{{NODE}}}": "0+5x30"},
    "MoorageRecoveryForgets": {f'moorage_recovery_refused_total{{{NODE}, cause="dropped"}}': "0+5x30"},
    "MoorageHandoversFail": {f'moorage_handovers_total{{{NODE}, result="resumed"}}': "0+1x30"},
    "MoorageCertificateExpires": {f"moorage_tls_certificate_expiry_seconds{{{NODE}}}": "500000+0x90"},
    "MoorageCannotStore": {f"moorage_recovery_store_failures_total{{{NODE}}}": "0+1x30"},
    "MoorageClientsLackedEvents": {f"moorage_recovery_incomplete_total{{{NODE}}}": "0+1x30"},
}
"""Values per minute, in promtool's notation, at which the alert fires: after 20 minutes, or after 80."""
QUIET: dict[str, str] = {
    f"up{{{NODE}}}": "1+0x30",
    f'moorage_refusals_total{{{NODE}, door="client", reason="no-app-server"}}': "0+1x30",
    f'moorage_refusals_total{{{NODE}, door="link", reason="token-signature"}}': "0+1x30",
    f'moorage_disconnects_total{{{NODE}, reason="transport-lost"}}': "0+5x30",
    f'moorage_disconnects_total{{{NODE}, reason="client-closed"}}': "0+500x30",
    f'moorage_connections{{{NODE}, hub="app", transport="websocket"}}': "5000+0x30",
    f"moorage_connects_total{{{NODE}}}": "0+505x30",
    f"moorage_slow_client_closes_total{{{NODE}}}": "0+1x30",
    f"moorage_tunnel_gap_answers_total{{{NODE}}}": "7+0x30",
    f'moorage_upstream_seconds_bucket{{{NODE}, event="connect", le="1.0"}}': "0+60x30",
    f'moorage_upstream_seconds_bucket{{{NODE}, event="connect", le="+Inf"}}': "0+60x30",
    f"moorage_event_loop_lag_max_seconds{{{NODE}}}": "0.02+0x30",
    f"process_cpu_seconds_total{{{NODE}}}": "0+30x30",
    f"process_open_fds{{{NODE}}}": "500+0x30",
    f"process_max_fds{{{NODE}}}": "1000+0x30",
    f"moorage_file_shortages_total{{{NODE}}}": "4+0x30",
    f"moorage_outbox_bytes{{{NODE}}}": "1000000+0x30",
    f'moorage_worker_up{{{NODE}, node="web1-2"}}': "1+0x30",
    f'moorage_worker_restarts_total{{{NODE}, node="web1-2"}}': "1+0x30",
    f"moorage_cluster_nodes{{{NODE}}}": "3+0x30",
    'moorage_cluster_nodes{instance="b:8080", job="moorage"}': "3+0x30",
    f"moorage_cluster_gaps_total{{{NODE}}}": "2+0x30",
    f'moorage_faults_total{{{NODE}, part="links"}}': "1+0x30",
    f"moorage_log_lines_dropped_total{{{NODE}}}": "9+0x30",
    f'moorage_recovery_refused_total{{{NODE}, cause="dropped"}}': "0+0.2x30",
    f'moorage_recovery_refused_total{{{NODE}, cause="unknown"}}': "0+20x30",
    f'moorage_handovers_total{{{NODE}, result="moved"}}': "0+100x30",
    f"moorage_tls_certificate_expiry_seconds{{{NODE}}}": "5000000+0x90",
    f"moorage_recovery_incomplete_total{{{NODE}}}": "3+0x30",
    f"moorage_recovery_store_failures_total{{{NODE}}}": "2+0x30",
}


def promtool(*arguments: object, cwd: Path = ROOT) -> None:
    """Run promtool; the test is skipped where `make setup` could not fetch it."""
    own = ROOT / ".tools/promtool"
    found = str(own) if own.exists() else shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing")
    done = subprocess.run([found, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("expr", sorted({*QUERIES, *(rule["expr"] for rule in RULES)}))
def test_every_metric_exists(expr: str) -> None:
    asked = set(re.findall(r"\b(?:moorage|process)_\w+", expr))
    assert asked <= KNOWN | PROCESS
    assert asked or "up{" in expr
    for names in re.findall(r'reason!?[=~]+"([^"]+)"', expr):
        assert set(names.split("|")) <= set(CATALOGUE)


def test_every_metric_of_an_alert_has_a_panel() -> None:
    metrics = re.compile(r"\b(?:moorage|process)_\w+")
    drawn = {name for query in QUERIES for name in metrics.findall(query)}
    # The panel of disconnects has these closes as one of its reasons.
    drawn.add("moorage_slow_client_closes_total")
    missing = {rule["alert"]: set(metrics.findall(rule["expr"])) - drawn for rule in RULES}
    assert {alert: names for alert, names in missing.items() if names} == {}


def test_process_metrics_are_scraped(service: Any) -> None:
    shown = service.get("/metrics")[1].decode()
    assert [name for name in PROCESS if f"\n{name} " not in shown] == []


def test_every_alert_has_its_page() -> None:
    folder = ROOT / "docs/howto/alerts"
    pages = {rule["annotations"]["page"]: rule for rule in RULES}
    assert sorted(pages) == sorted(str(path.relative_to(ROOT)) for path in folder.glob("*.md"))
    for page, rule in pages.items():
        text = (ROOT / page).read_text()
        assert text.startswith(f"# {rule['alert']}\n")
        assert " ".join(rule["expr"].split()) in text
        assert {"severity"} == set(rule["labels"])
        assert all(f"\n## {part}\n" in text for part in ("What users notice", "Find the cause", "What to do"))


def test_the_tables_name_every_alert() -> None:
    assert sorted(FIRES) == sorted(rule["alert"] for rule in RULES)


def test_each_alert_fires_and_is_silent(tmp_path: Path) -> None:
    """One run of promtool for all: it takes a second to start."""

    def case(series: dict[str, str], alert: str, *, fires: bool) -> dict[str, Any]:
        rule = next(rule for rule in RULES if rule["alert"] == alert)
        wanted = {"alertname": alert, "eval_time": "80m" if rule.get("for") == "1h" else "20m"}
        rows = [{"series": name, "values": values} for name, values in series.items()]
        if fires:
            # promtool compares all labels: those of the series come from the rule's expression.
            wanted["exp_alerts"] = [{"exp_labels": {**rule["labels"], **_kept(alert)}}]  # type: ignore[assignment]
        return {"interval": "1m", "input_series": rows, "alert_rule_test": [wanted]}

    tests = [case(FIRES[alert], alert, fires=True) for alert in FIRES]
    shortages = {f"moorage_file_shortages_total{{{NODE}}}": "0+240x30"}
    tests.append(case(shortages, "MoorageNeedsFiles", fires=True))
    tests += [case(QUIET, alert, fires=False) for alert in FIRES]
    rules = yaml.safe_load(ALERTS.read_text())
    for rule in rules["groups"][0]["rules"]:
        del rule["annotations"]  # promtool would compare these too
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    promtool("test", "rules", "test.yaml", cwd=tmp_path)


def _kept(alert: str) -> dict[str, str]:
    """The labels that the alert's expression keeps."""
    expr = next(rule["expr"] for rule in RULES if rule["alert"] == alert)
    (series, *_) = FIRES[alert]
    labels = dict(re.findall(r'(\w+)="([^"]*)"', series))
    if grouped := re.search(r"sum by \((\w+)\)", expr):
        return {grouped[1]: labels[grouped[1]]} if grouped[1] in labels and grouped[1] != "le" else {}
    return {} if re.match(r"sum\(|max\(|histogram_quantile", expr) else labels


def test_rules_and_queries_are_promql(tmp_path: Path) -> None:
    promtool("check", "rules", ALERTS)
    queries = [re.sub(r"\$__rate_interval", "5m", query).replace("$instance", ".*") for query in QUERIES]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "panels.yaml")


def test_the_dashboard_is_whole() -> None:
    board = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
