"""What is counted, reported and added up."""

from __future__ import annotations

import msgspec

from moorage.load.tally import MAX_ERRORS, MAX_TEXT, Report, Tally, Totals


def test_reports_hold_what_is_new_and_add_up() -> None:
    tally, totals = Tally(), Totals()
    for _ in range(2):
        tally.sent += 2
        tally.received += 1
        tally.count("lost")
        tally.latency.record(1000)
        tally.error("refused")
        tally.connected += 1
        report = tally.report(3, 0.5, "ready")
        totals.add(msgspec.json.decode(msgspec.json.encode(report), type=Report))
    assert (report.worker, report.connected, report.cpu, report.state) == (3, 2, 0.5, "ready")
    assert {name: count for name, count in totals.counts.items() if count} == {
        "sent": 4,
        "received": 2,
        "lost": 2,
    }
    assert len(totals.histograms["latency"]) == 2
    assert totals.errors == {"refused": 2}
    assert tally.report(3, 0.5).counts == {}


def test_the_window_is_half_open() -> None:
    tally = Tally()
    assert not tally.measures(0)
    tally.since, tally.until = 10, 20
    assert [tally.measures(at) for at in (9, 10, 19, 20)] == [False, True, True, False]


def test_texts_of_errors_are_bounded() -> None:
    tally = Tally()
    tally.error("x" * 1000)
    for number in range(MAX_ERRORS + 10):
        tally.error(f"error {number}")
    errors = tally.report(0, 0.0).errors
    assert len(errors) == MAX_ERRORS + 1
    assert errors["other errors"] == 11
    assert max(map(len, errors)) == MAX_TEXT


def test_what_a_server_writes_cannot_act_on_a_terminal() -> None:
    tally = Tally()
    tally.error("no\x1b[2J\n")
    assert tally.report(0, 0.0).errors == {"no\\x1b[2J\\n": 1}


def test_texts_of_errors_are_bounded_in_the_sums_too() -> None:
    tally, totals = Tally(), Totals()
    for number in range(MAX_ERRORS + 10):
        tally.error(f"error {number}")
        totals.add(tally.report(0, 0.0))
    assert len(totals.errors) == MAX_ERRORS + 1
    assert totals.errors["other errors"] == 10
