from __future__ import annotations

from moorage.cluster.streams.kept import KEEP_SECONDS, Kept


def test_frames_are_kept_for_their_time() -> None:
    kept = Kept(0.0, last=10)
    assert kept.first == 11
    for at in range(3):
        kept.last += 1
        kept.frames.append(b"%d" % at)
        kept.forget_old(float(at))
    assert list(kept.between(11, 13)) == [b"0", b"1", b"2"]
    assert list(kept.between(12, 12)) == [b"1"]
    kept.forget_old(KEEP_SECONDS - 0.1)
    assert (kept.first, kept.size, kept.changed) == (11, 3, 2.0)
    kept.forget_old(KEEP_SECONDS + 1)
    assert (kept.first, kept.size) == (13, 1)
    kept.forget_old(KEEP_SECONDS + 2)
    assert (kept.first, kept.size, kept.last) == (14, 0, 13)
    kept.forget_old(KEEP_SECONDS + 3)


def test_the_older_half_is_forgotten() -> None:
    kept = Kept(0.0)
    for at in range(5):
        kept.last += 1
        kept.frames.append(b"%d" % at)
    kept.forget_half()
    assert list(kept.between(kept.first, 5)) == [b"3", b"4"]
