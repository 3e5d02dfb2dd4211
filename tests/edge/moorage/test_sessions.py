"""Hellos of the moorage dialect: who gets a session, who gets its old one back, who is turned away."""

from __future__ import annotations

import pytest
from picows import WSMsgType

from moorage.edge.moorage.server import MoorageServer
from moorage.edge.moorage.sessions import HELLO_SECONDS, MAX_WINDOW, MIN_WINDOW
from moorage.edge.settings import LinkSettings
from moorage.edge.sockets import CLOSE_SECONDS
from moorage.hub.hub import AppServer
from moorage.hub.settings import HubSettings
from moorage.wire.handshake import OpenInfo
from moorage.wire.moorage import v1
from moorage.wire.reasons import LINK_REPLACED, LINK_SILENT
from tests.edge.moorage.rig import App, Line, Pair, Rig
from tests.hub.fakes import HUB, LEAST, RecordingLink, RecordingOpening, heard, sink_of


def reasons(app: App) -> list[str]:
    """Why its link was closed."""
    return [reason.name for reason in app.line.closed]


def ends(rig: Rig) -> list[str]:
    """Why clients were closed."""
    return [reason for _, reason, *_ in rig.world.logged]


def raw(rig: Rig, data: bytes, server_id: str = "s1") -> Line:
    """A link whose first message is this."""
    line = Line(rig.sessions, HUB, server_id)
    line.feed(data)
    return line


def hello(session: str = "", received: int = 0, window: int = 1 << 22, revision: int = 1) -> bytes:
    """A greeting's frame."""
    return v1.encode_frame(v1.AppHello(revision, "test", session, received, window))


# -- the first message ------------------------------------------------------------------------------------


def test_the_service_hello() -> None:
    rig = Rig(links=LinkSettings(grace=7.5, heartbeat=2.5, window=1 << 20, max_frame=1 << 21))
    said = rig.app().hello
    assert (said.revision, said.resumed, said.received) == (v1.REVISION, False, 0)
    assert (said.window, said.max_batch) == (1 << 20, 1 << 21)
    assert (said.keepalive, said.grace) == (2_500, 7_500)
    assert (said.hub, said.node) == (HUB, "n1")
    assert len(said.session) >= 16
    assert said.service


def test_sessions_are_not_to_be_guessed() -> None:
    rig = Rig()
    assert len({rig.app(f"s{number}").hello.session for number in range(50)}) == 50


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (v1.encode_batch(1, 0, [hello()]), "link-bad-frame"),
        (v1.encode_batch(0, 0, []), "link-bad-frame"),
        (v1.encode_batch(0, 0, [hello(), hello()]), "link-bad-frame"),
        (v1.encode_batch(0, 0, [v1.encode_frame(v1.List(1))]), "link-bad-frame"),
        (v1.encode_batch(0, 0, [hello(), v1.encode_frame(v1.List(1))]), "link-bad-frame"),
        (b"", "link-bad-frame"),
        (b"\xc1", "link-bad-frame"),
        (b"\x91" * 100_000, "link-bad-frame"),
        (v1.encode_batch(0, 0, [hello(revision=0)]), "link-version"),
        (v1.encode_batch(0, 0, [hello(window=MIN_WINDOW - 1)]), "link-bad-frame"),
        (v1.encode_batch(0, 0, [hello(window=MAX_WINDOW + 1)]), "link-bad-frame"),
    ],
)
def test_what_is_no_hello(data: bytes, reason: str) -> None:
    rig = Rig()
    line = raw(rig, data)
    assert [closed.name for closed in line.closed] == [reason]
    assert line.writes == []
    assert rig.world.node.hubs == {}, "nothing is left behind"
    assert rig.world.metrics.refusals["link", reason] == 1
    # Whatever else comes with it is not read.
    line.feed(v1.encode_batch(0, 0, [hello()]))
    assert line.writes == []


@pytest.mark.parametrize("window", [MIN_WINDOW, MAX_WINDOW])
@pytest.mark.parametrize("revision", [1, 2, 2**53 - 1])
def test_windows_and_revisions_that_will_do(window: int, revision: int) -> None:
    assert raw(Rig(), v1.encode_batch(0, 0, [hello(window=window, revision=revision)])).writes


@pytest.mark.parametrize("ack", [0, 5])
def test_a_hellos_ack_means_nothing(ack: int) -> None:
    assert raw(Rig(), v1.encode_batch(0, ack, [hello()])).writes


def test_a_hub_that_a_reload_has_taken_off_the_list() -> None:
    rig = Rig()
    rig.world.node.configure({"other": HubSettings()}, allow_unlisted_hubs=False)
    line = raw(rig, v1.encode_batch(0, 0, [hello()]))
    assert [closed.name for closed in line.closed] == ["unknown-hub"]


@pytest.mark.parametrize(("heartbeat", "seconds"), [(5.0, HELLO_SECONDS), (2.0, 6.0)])
def test_a_link_without_a_hello_is_closed(heartbeat: float, seconds: float) -> None:
    rig = Rig(links=LinkSettings(heartbeat=heartbeat))
    line = rig.sessions.socket(HUB, "s1")
    rig.after(seconds - 3.0)
    assert line in rig.sessions.sweep
    # We sleep; its hello may be there when we wake.
    rig.world.now += 100.0
    rig.after(0.5)
    assert line in rig.sessions.sweep
    rig.after(3.0 + CLOSE_SECONDS + 1.0)
    assert line not in rig.sessions.sweep
    assert rig.world.metrics.refusals["link", LINK_SILENT.name] == 1


# -- resume -----------------------------------------------------------------------------------------------


def test_a_resume_goes_on_where_the_other_end_stopped() -> None:
    rig = Rig()
    app = rig.app()
    app.client("/")
    app.cut()
    app.back()
    assert app.hello.resumed
    assert app.hello.received == app.out.last
    assert app.heard() == []


@pytest.mark.parametrize("received", [0, 1000])
def test_a_resume_that_cannot_be(received: int) -> None:
    rig = Rig()
    app = rig.app()
    app.client("/")
    app.ack()
    app.cut()
    app.dial(app.hello.session, received=received)
    assert reasons(app) == ["link-bad-frame"]
    # Whoever tried that has not taken anything from the one it belongs to.
    assert ends(rig) == []
    app.back()
    assert app.hello.resumed


@pytest.mark.parametrize("session", ["", "x", "made up" * 100])
def test_a_session_that_is_not_known_becomes_a_new_one(session: str) -> None:
    rig = Rig()
    app = rig.app()
    app.client("/")
    old = app.hello.session
    app.cut()
    app.dial(session)
    assert not app.hello.resumed
    assert app.hello.session != old
    # The process that had the old one is gone, and its clients with it: they come again.
    assert ends(rig) == ["app-lost"]
    app.cut()
    app.dial(old)
    assert not app.hello.resumed


def test_a_client_number_is_never_used_again() -> None:
    rig = Rig()
    one, two = rig.app("one"), rig.app("two")
    numbers = [one.client("/")[0], two.client("/")[0]]
    one.cut()
    one.dial("")
    assert not one.hello.resumed
    numbers += [one.client("/")[0], two.client("/")[0]]
    assert len(set(numbers)) == 4


def test_a_late_answer_about_a_client_of_the_last_session_is_ignored() -> None:
    rig = Rig()
    app = rig.app()
    old, _ = app.client("/")
    app.cut()
    app.dial("")
    _, connection = app.client("/")
    app.say(v1.Opened(old, 25_000, 20_000, 1_000_000), v1.Packet(old, b'42["late"]'), v1.Close(old))
    assert reasons(app) == []
    rig.settle()
    assert heard(connection)[-1:] != [b'42["late"]']
    assert ends(rig) == ["app-lost"]


def test_another_ids_session_is_of_no_use() -> None:
    rig = Rig()
    one, two = rig.app("one"), rig.app("two")
    two.cut()
    two.dial(one.hello.session)
    assert not two.hello.resumed
    assert one.line.closed == []


def test_which_sessions_may_be_resumed() -> None:
    rig = Rig()
    assert not rig.sessions.knows(HUB, "s1")
    app = rig.app()
    app.cut()
    assert rig.sessions.knows("APP", "s1")
    assert not rig.sessions.knows(HUB, "s2")
    app.back().line.feed(b"\x03\xe8", WSMsgType.CLOSE)
    assert not rig.sessions.knows(HUB, "s1")


def test_a_new_link_replaces_the_old_one() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/")
    old = app.line
    app.back()
    assert app.hello.resumed
    assert old.closed == [LINK_REPLACED]
    # What the old one still brings is not read: all that counts comes over the new one.
    old.feed(v1.encode_batch(app.out.last + 1, 0, [v1.encode_frame(v1.Close(number))]))
    assert ends(rig) == []
    old.lose()
    assert app.server.transport is not None
    app.say(v1.Packet(number, b"42[1]"))
    rig.settle()
    assert sink_of(connection).packets[-1] == b"42[1]"
    assert rig.world.metrics.refusals["link", LINK_REPLACED.name] == 0, "nobody's fault"


def test_an_id_that_is_in_use() -> None:
    rig = Rig()
    app = rig.app("taken")
    app.client("/")
    other = App(rig, "taken").dial()
    assert reasons(other) == ["link-server-taken"]
    assert App(rig, "taken").dial("made up").line.closed
    assert (app.line.closed, ends(rig)) == ([], [])
    app.cut()
    assert not App(rig, "taken").dial().line.closed, "its owner is away and does not say which session"
    assert ends(rig) == ["app-lost"]


def test_a_session_with_an_unreadable_frame_cannot_be_resumed() -> None:
    """The same bytes would come again and again."""
    rig = Rig()
    app = rig.app()
    app.client("/")
    session = app.hello.session
    app.line.feed(b"\xc1")
    assert reasons(app) == ["link-bad-frame"]
    assert ends(rig) == ["app-lost"]
    # At once, not only at the next tick of the clock.
    app.dial(session)
    assert not app.hello.resumed
    app.client("/")


@pytest.mark.parametrize(
    "data",
    [
        v1.encode_batch(5, 0, []),
        v1.encode_batch(1, 1, []),
        v1.encode_batch(0, 2**53 - 1, []),
        v1.encode_batch(0, 0, [v1.encode_frame(v1.List(1))]),
        v1.encode_batch(1, 0, [b"\x91\x63"]),
        v1.encode_batch(1, 0, [b"\x92\x2b\xff"]),
        b"\x93\x01\x00\xdd\xff\xff\xff\xff",
        b"\x93\x01\x00" + b"\x91" * 5_000_000,
        v1.encode_batch(1, 0, [v1.encode_frame(v1.List(1))] * (v1.MAX_FRAMES + 1)),
    ],
    ids=["gap", "ack", "large-ack", "unnumbered", "type", "negative", "4-billion-frames", "deep", "crowd"],
)
def test_frames_that_break_the_protocol(data: bytes) -> None:
    rig = Rig()
    app = rig.app()
    app.line.feed(data)
    assert reasons(app) == ["link-bad-frame"]
    assert app.hello.session
    assert rig.world.node.hub(HUB) is None


# -- the same id in the other dialect ---------------------------------------------------------------------


def azure(rig: Rig, *, up: bool) -> AppServer:
    """An app server `s1` of another dialect, with a client."""
    link = RecordingLink()
    link.on_open = lambda connection: rig.world.node.accept(connection, OpenInfo())
    server = AppServer("s1", link, "azure", LEAST)
    server.up = True
    rig.world.node.ensure_hub(HUB).servers.add(server)
    rig.world.client("/")
    server.up = up
    return server


def test_an_id_that_the_azure_dialect_uses() -> None:
    rig = Rig()
    server = azure(rig, up=True)
    app = App(rig, "s1").dial()
    assert reasons(app) == ["link-server-taken"]
    assert len(server.clients) == 1
    server.up = False
    app.dial()
    assert not app.line.closed
    assert len(server.clients) == 0, "its clients come again"
    assert rig.hub.servers.get("s1") is app.server.app


def test_a_session_is_evicted_with_all_it_has() -> None:
    rig = Rig()
    app = rig.app()
    app.client("/")
    other, session = rig.app("s2"), app.hello.session
    app.say(v1.Tell(1, "/", 100_000, b'42["q"]'))
    assert len(rig.hub.questions) == 1
    app.cut()
    rig.sessions.evict(rig.hub, "s1")
    assert ends(rig) == ["app-lost"]
    assert not rig.hub.waits
    assert rig.hub.servers.get("s1") is None
    app.dial(session)
    assert not app.hello.resumed
    assert other.line.closed == []
    rig.sessions.evict(rig.hub, "nobody")


# -- housekeeping -----------------------------------------------------------------------------------------


def test_links_are_counted_by_hub() -> None:
    rig = Rig()
    one, two = rig.app("one"), rig.app("two")
    assert rig.sessions.links() == {HUB: 2}
    one.cut()
    assert rig.sessions.links() == {HUB: 1}
    two.cut()
    assert rig.sessions.links() == {HUB: 0}
    rig.after(10.0)
    assert rig.sessions.links() == {}
    assert rig.sessions._sessions == {}


def test_hub_names_compare_without_case() -> None:
    rig = Rig(hub="Chat")
    app = rig.app()
    rig.hub_name = "CHAT"
    app.cut()
    app.back()
    assert app.hello.resumed
    assert app.hello.hub == "Chat"


# -- faults -----------------------------------------------------------------------------------------------


def test_an_app_server_whose_tick_fails_does_not_keep_others_from_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Pair(links=LinkSettings(heartbeat=2.0))
    tick = MoorageServer.tick

    def fail(server: MoorageServer, now: float, step: float) -> None:
        if server.app.id == "one":
            raise RuntimeError("broken")
        tick(server, now, step)

    monkeypatch.setattr(MoorageServer, "tick", fail)
    pair.rig.after(10.0)
    assert (reasons(pair.one), reasons(pair.two)) == ([], [LINK_SILENT.name])
    assert {part for part, _ in pair.rig.world.faults} == {"links"}


@pytest.mark.parametrize(
    ("there", "here", "up", "taken"),
    [
        ("i1", "i2", True, True),
        ("i1", "i1", True, False),
        ("i1", "i2", False, False),
        ("", "i2", True, False),
    ],
)
def test_an_id_that_is_used_at_another_node(there: str, here: str, up: bool, taken: bool) -> None:
    rig = Rig()
    server = AppServer("s1", RecordingLink(), "moorage", LEAST)
    server.up, server.instance = up, there
    rig.world.node.ensure_hub(HUB).servers.elsewhere.add(server)
    app = App(rig, "s1")
    app.instance = here
    app.dial()
    assert reasons(app) == (["link-server-taken"] if taken else [])


@pytest.mark.parametrize(
    ("here", "there", "up", "ends"),
    [("b", "a", True, True), ("a", "b", True, False), ("a", "a", True, False), ("b", "a", False, False)],
)
def test_of_two_processes_that_came_at_one_moment_one_has_the_id(
    here: str, there: str, up: bool, ends: bool
) -> None:
    rig = Rig()
    app = App(rig, "s1")
    app.instance = here
    app.dial()
    other = AppServer("s1", RecordingLink(), "moorage", LEAST)
    other.instance, other.up = there, up
    rig.hub.servers.elsewhere.add(other)
    rig.after(1.0)
    assert reasons(app) == (["link-server-taken"] if ends else [])
    assert rig.sessions.knows(HUB, "s1") is not ends


@pytest.mark.parametrize(("instance", "left"), [("i", 0), ("other", 2)])
def test_clients_forwarded_to_an_app_server_end_when_its_session_begins(instance: str, left: int) -> None:
    rig = Rig()
    link = RecordingLink()
    elsewhere = AppServer("s1", link, "moorage", LEAST)
    elsewhere.instance, elsewhere.up = instance, True
    rig.world.node.ensure_hub(HUB).servers.elsewhere.add(elsewhere)
    rig.world.open(RecordingOpening())
    link.on_open = lambda connection: rig.world.node.accept(connection, OpenInfo())
    rig.world.open(RecordingOpening())
    elsewhere.up = False
    app = App(rig, "s1")
    app.instance = "i"
    app.dial()
    assert len(elsewhere.clients) == left
