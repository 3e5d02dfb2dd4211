"""The catalogue follows its rules: unique numbers, ranges, and valid codes."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest

from moorage.wire import reasons
from moorage.wire.reasons import (
    API_CLOSED,
    APP_CLOSED,
    APP_LOST,
    BAD_PACKET,
    CATALOGUE,
    DRAINING,
    Reason,
    stays_away,
)

ROWS = [value for value in vars(reasons).values() if isinstance(value, Reason)]
RANGES = [range(1000, 1100), range(1100, 1200), range(2000, 2100), range(2100, 2200)] + [
    range(start, start + 100) for start in (3000, 4000, 5000, 5100, 6000)
]
NEVER_SENT = 1006
"""The code of a broken connection. Logs contain it, but never a close frame (RFC 6455, 7.4.1)."""


def test_every_row_occurs_exactly_once() -> None:
    assert list(CATALOGUE.values()) == sorted(ROWS, key=lambda row: row.number)
    assert len({row.number for row in ROWS}) == len(ROWS)
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row(row: Reason) -> None:
    assert CATALOGUE[row.name] is row
    assert getattr(reasons, row.name.upper().replace("-", "_")) is row
    assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", row.name)
    assert row.text and not row.text.endswith(".")
    assert any(row.number in numbers for numbers in RANGES)
    HTTPStatus(row.http)
    assert row.ws == NEVER_SENT or row.ws in (1000, 1001, 1002, 1007, 1008, 1009, 1011, 1012, 1013)
    assert row.eio in (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_reasons_follow_the_rules_of_their_range(row: Reason) -> None:
    if row.number < 1200:
        assert row.retry
    elif 3000 <= row.number < 3100:
        assert row.http == 401
    elif row.number >= 5000:
        assert row.http >= 400
    if row.http >= 400:
        assert row.ws != NEVER_SENT


def test_close_codes_agree_with_statuses() -> None:
    for row in ROWS:
        if row.http == 413 and row.number < 5000:
            assert row.ws == 1009, row.name
        if row.http == 503:
            assert row.ws in (1001, 1012, 1013), row.name


def test_only_a_client_that_was_sent_away_or_broke_the_protocol_stays_away() -> None:
    assert [stays_away(reason) for reason in (APP_CLOSED, API_CLOSED, BAD_PACKET)] == [True, True, True]
    assert [stays_away(reason) for reason in (DRAINING, APP_LOST)] == [False, False]
