from __future__ import annotations

from moorage.sdk.link.backoff import RETRY_FIRST, RETRY_IN_GRACE, RETRY_MAX, Backoff


def test_pauses_grow_up_to_a_limit() -> None:
    backoff = Backoff()
    pauses = [backoff.pause() for _ in range(100)]
    assert 0 < pauses[0] <= RETRY_FIRST
    assert all(0.3 * RETRY_MAX <= pause <= RETRY_MAX for pause in pauses[10:])


def test_pauses_are_shorter_while_the_service_keeps_the_session() -> None:
    backoff = Backoff()
    pauses = [backoff.pause(in_grace=True) for _ in range(100)]
    assert 0 < pauses[0] <= RETRY_FIRST
    assert all(0.3 * RETRY_IN_GRACE <= pause <= RETRY_IN_GRACE for pause in pauses[10:])
    assert backoff.pause() > RETRY_IN_GRACE


def test_a_link_that_was_up_for_a_while_begins_with_short_pauses() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.pause()
    backoff.broke(RETRY_IN_GRACE / 2)
    assert backoff.attempts == 5, "a link that breaks at once is not tried ever faster"
    backoff.broke(RETRY_IN_GRACE)
    assert backoff.attempts == 0
