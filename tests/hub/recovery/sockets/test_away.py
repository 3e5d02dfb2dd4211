"""The index of parked sockets, and the news of groups for other nodes."""

from __future__ import annotations

from typing import Any

from moorage.hub.recovery.sockets.away import Away, Beside
from moorage.hub.recovery.sockets.track import Claim, Track
from moorage.hub.rooms import Rooms
from moorage.wire.commands import EVERYONE, Selection
from moorage.wire.filters.compiled import Filter
from tests.hub.fakes import RecordingCluster, World


def make(pid: str, connection: str, namespace: str = "/", user: str | None = None) -> Track[Any]:
    track: Track[Any] = Track(pid, namespace, f"s{pid}", connection_id=connection, user_id=user)
    track.server, _ = World().server()
    return track


def test_parked_sockets_are_selected_like_connections() -> None:
    away: Away[Any] = Away()
    a, b, c = make("1", "c1", user="u"), make("2", "c1", "/ns"), make("3", "c2", user="u")
    for track, groups in ((a, ["x", a.private]), (b, ["y"]), (c, ["x", "y"])):
        away.put(track, groups, 0.0)
    assert len(away) == 3

    def found(to: Selection) -> set[str]:
        return {track.pid for track in away.select(to)}

    assert found(EVERYONE) == {"1", "2", "3"}
    assert found(Selection(group="x")) == {"1", "3"}
    assert found(Selection(group=a.private)) == {"1"}
    assert found(Selection(user="u")) == {"1", "3"}
    assert found(Selection(user="v")) == set()
    assert found(Selection(connection="c1")) == {"1", "2"}
    assert found(Selection(connection="c1", group="y")) == {"2"}
    assert found(Selection(connection="c3")) == set()
    assert found(Selection(filter=Filter(connection_id="c1"))) == {"1", "2"}
    assert found(Selection(filter=Filter(any_of=("x", "y"), none_of=(a.private,)))) == {"2", "3"}
    for track in (a, b, c):
        away.take(track)
    assert found(EVERYONE) == set()
    assert len(away.rooms) == 0
    assert not away.of("c1")


def test_deadlines() -> None:
    away: Away[Any] = Away()
    tracks = [make(pid, f"c{pid}") for pid in "1234"]
    for at, (track, lasts) in enumerate(zip(tracks, (60.0, 10.0, 10.0, 60.0), strict=True)):
        track.lasts = lasts
        away.put(track, (), float(at))
    assert away.oldest() is tracks[1]
    assert [track.pid for track in away.over(11.5)] == ["2"]
    tracks[1].claim = Claim(object(), None, 0)  # type: ignore[arg-type]
    assert away.oldest() is tracks[2]
    assert [track.pid for track in away.over(60.5)] == ["1", "3"]
    for track in tracks[:3]:
        away.take(track)
    assert away.oldest() is tracks[3]


def test_a_group_is_news_once() -> None:
    news = RecordingCluster()
    live: Rooms[Any] = Rooms("h")
    parked: Rooms[Any] = Rooms("h")
    live.news, parked.news = Beside(news, parked), Beside(news, live)
    one, other = make("1", "c1"), make("2", "c2")
    live.join(one, "x")
    parked.join(other, "x")
    live.leave(one, "x")
    live.join(one, "x")
    parked.leave(other, "x")
    live.leave(one, "x")
    parked.join(other, "x")
    assert news.groups == [("first", "x"), ("last", "x"), ("first", "x")]
