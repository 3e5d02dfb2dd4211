"""Two app servers of the moorage dialect, and a client that moves from one to the other, frame by frame."""

from __future__ import annotations

from typing import Any

from moorage.edge.settings import LinkSettings
from moorage.hub.hub import Connection
from moorage.wire.groups import room_group
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import Arriving, Leaving
from tests.edge.moorage.rig import TERMS, App, closed, ends, say
from tests.edge.moorage.turning import TurningRig
from tests.hub.fakes import heard, sink_of

EVENT = b'42["event"]'


class House:
    """App servers `one` and `two`, and a client of the first one in `/`."""

    def __init__(self, **given: Any) -> None:
        self.rig = TurningRig(**given)
        self.one, self.two = self.rig.app("one"), self.rig.app("two")
        self.number, self.client = self.one.client("/")
        self.sid = f"s{self.number}"
        for server in self.rig.hub.servers.all():
            server.draining = False

    def hand_over(self) -> None:
        """The first app server gives its clients away."""
        self.one.say(v1.HandOver(9))

    def state(self, data: bytes = b"", acks: int = 0, pending: tuple[int, ...] = ()) -> None:
        """Its last word."""
        self.one.say(v1.State(self.number, (Leaving("/", self.sid, data, acks, pending),)))

    def adopt(self) -> v1.Adopt:
        """Hand over up to the offer."""
        self.hand_over()
        assert self.one.heard(v1.Freeze) == [v1.Freeze(self.number)]
        self.state()
        (offer,) = self.two.heard(v1.Adopt)
        assert isinstance(offer, v1.Adopt)
        return offer

    def move(self) -> int:
        """Hand over; the client's number at the second app server."""
        number = self.adopt().client
        self.two.say(v1.Opened(number, *TERMS))
        self.rig.settle()
        return number


def packets(app: App) -> list[tuple[int, bytes]]:
    """The packets of clients that the app server has got."""
    return [(frame.client, frame.payload) for frame in app.heard(v1.Packet)]


def test_a_client_moves() -> None:
    house = House()
    house.one.say(v1.Enter(0, house.number, "/", ("a",)))
    house.hand_over()
    assert house.one.heard() == [v1.Freeze(house.number)]
    house.state(b'{"data":1}', 3)
    (offer,) = house.two.heard()
    assert (offer.id, offer.user, offer.transport) == (house.client.id, None, "websocket")
    assert offer.handshake == bytes(house.client.handshake)
    assert offer.sockets == (Arriving("/", house.sid, ("a",), b'{"data":1}', 3),)
    say(house.rig, house.client, EVENT)
    house.two.say(v1.Opened(offer.client, *TERMS), v1.Packet(offer.client, b'42["hello"]'))
    assert packets(house.two) == [(offer.client, EVENT)]
    assert house.one.heard() == [v1.Released(house.number), v1.Done(9, 1)]
    assert heard(house.client)[-1] == b'42["hello"]'


def test_a_client_on_polling_moves() -> None:
    house = House()
    house.number, house.client = house.one.client("/", framed=False)
    house.sid = f"s{house.number}"
    for server in house.rig.hub.servers.all():
        server.draining = False
    house.hand_over()
    house.one.heard()
    house.state()
    assert [offer.transport for offer in house.two.heard(v1.Adopt)] == ["polling"]


def test_the_new_app_server_may_send_and_join_rooms_before_it_has_answered() -> None:
    house = House()
    offer = house.adopt()
    house.two.say(v1.Packet(offer.client, EVENT), v1.Enter(1, offer.client, "/", ("b",)))
    house.rig.settle()
    assert heard(house.client)[-1] == EVENT
    assert room_group("/", "b") in house.client.groups


def test_what_the_former_app_server_still_sends_after_its_last_word_arrives() -> None:
    house = House()
    offer = house.adopt()
    house.one.say(v1.Packet(house.number, b'42["late"]'))
    house.two.say(v1.Opened(offer.client, *TERMS))
    house.rig.settle()
    assert heard(house.client)[-1] == b'42["late"]'


def test_handlers_that_still_run_may_send_to_a_client_that_has_moved() -> None:
    house = House()
    house.move()
    house.one.say(v1.Packet(house.number, b'430["late answer"]'))
    house.rig.settle()
    assert heard(house.client)[-1] == b'430["late answer"]'
    say(house.rig, house.client, b"1")
    house.one.say(v1.Packet(house.number, b'431["too late"]'))
    assert house.one.heard(v1.Failed) == []


def test_a_socket_that_the_former_app_server_ends_before_it_knows_of_the_move_ends_at_the_new_one() -> None:
    house = House()
    number = house.move()
    house.one.say(v1.Packet(house.number, b'44{"message":"no"}'), v1.Packet(house.number, b"41/other,"))
    house.rig.settle()
    assert house.two.heard(v1.Left) == []
    house.one.say(v1.Packet(house.number, b"41"))
    house.rig.settle()
    assert heard(house.client)[-1] == b"41"
    assert house.two.heard(v1.Left) == [v1.Left(number, "/")]
    assert house.one.heard(v1.Failed) == []


def test_the_new_app_server_is_told_of_rooms_that_the_former_one_changes_before_it_knows_of_the_move() -> (
    None
):
    house = House()
    offer = house.adopt()
    house.one.say(v1.Enter(1, house.number, "/", ("a",)))
    house.two.say(v1.Opened(offer.client, *TERMS))
    house.rig.settle()
    house.one.say(v1.Enter(2, house.number, "/", ("b",)), v1.Exit(3, house.number, "/", ("a",)))
    house.rig.settle()
    assert house.one.heard(v1.Done)[-2:] == [v1.Done(2, 1), v1.Done(3, 1)]
    assert house.two.heard(v1.Moved) == [
        v1.Moved(offer.client, "/", True, ("a",)),
        v1.Moved(offer.client, "/", True, ("b",)),
        v1.Moved(offer.client, "/", False, ("a",)),
    ]
    assert {room_group("/", "b")} <= set(house.client.groups)
    assert room_group("/", "a") not in house.client.groups


def test_a_socket_that_the_former_app_server_ends_while_it_moves_ends_at_the_new_one() -> None:
    house = House()
    offer = house.adopt()
    house.one.say(v1.Packet(house.number, b"41"))
    house.two.say(v1.Opened(offer.client, *TERMS))
    assert house.two.heard(v1.Left) == [v1.Left(offer.client, "/")]


def test_the_client_gets_moved_left_and_upgraded_at_its_new_app_server() -> None:
    house = House()
    house.hand_over()
    house.one.heard()
    house.two.say(v1.Join(0, v1.To("/"), ("a",)))
    house.rig.world.node.upgraded(house.client)
    house.two.say(v1.Disconnect(0, v1.To("/"), False))
    house.state()
    (offer,) = house.two.heard(v1.Adopt)
    house.two.say(v1.Opened(offer.client, *TERMS))
    number = offer.client
    told = house.two.heard(v1.Moved, v1.Upgraded, v1.Left)
    assert told == [
        v1.Moved(number, "/", True, ("a",)),
        v1.Upgraded(number, "websocket"),
        v1.Left(number, "/"),
    ]


def test_a_refusal_gives_the_client_back() -> None:
    house = House()
    offer = house.adopt()
    say(house.rig, house.client, EVENT)
    house.two.say(v1.Refused(offer.client, 503, "no"))
    assert house.one.heard() == [
        v1.Resume(house.number),
        v1.Packet(house.number, EVENT),
        v1.Done(9, 0, (house.client.id,)),
    ]


def test_terms_that_are_no_terms_are_a_refusal() -> None:
    house = House()
    house.two.say(v1.Opened(house.adopt().client, 0, 0, 0))
    assert house.one.heard(v1.Resume) == [v1.Resume(house.number)]


def test_an_app_server_that_closes_the_client_instead_of_an_answer_refuses_it() -> None:
    house = House()
    offer = house.adopt()
    house.two.say(v1.Close(offer.client))
    assert closed(house.two) == [(offer.client, "app-closed", "forced server close")]
    assert house.one.heard(v1.Resume) == [v1.Resume(house.number)]
    assert ends(house.rig) == []


def test_an_app_server_that_dies_with_the_offer_is_a_refusal() -> None:
    house = House()
    house.adopt()
    house.two.line.feed(b"no batch at all")
    house.two.server.give_up()
    assert house.one.heard(v1.Resume) == [v1.Resume(house.number)]
    assert ends(house.rig) == []


def test_an_app_server_that_does_not_answer_is_told_that_the_client_is_gone() -> None:
    house = House()
    offer = house.adopt()
    for _ in range(6):
        house.rig.after(1)
        house.one.ack()
        house.two.ack()
    assert closed(house.two) == [(offer.client, "connect-timeout", "transport close")]
    assert house.one.heard(v1.Resume) == [v1.Resume(house.number)]
    house.two.say(v1.Opened(offer.client, *TERMS))
    assert house.client.server is house.one.server.app


def test_a_client_that_leaves_with_the_offer_is_closed_at_its_new_app_server() -> None:
    house = House()
    offer = house.adopt()
    say(house.rig, house.client, b"1")
    assert house.two.heard() == []
    house.two.say(v1.Opened(offer.client, *TERMS))
    assert closed(house.two) == [(offer.client, "client-closed", "transport close")]
    assert house.one.heard(v1.Closed, v1.Released) == [v1.Released(house.number)]


def test_a_client_that_leaves_while_frozen_is_closed_at_its_former_app_server() -> None:
    house = House()
    house.hand_over()
    say(house.rig, house.client, b"1")
    assert closed(house.one) == [(house.number, "client-closed", "transport close")]
    house.state()
    assert house.two.heard() == []


def test_acks_reach_the_app_server_that_waits_for_them() -> None:
    house = House()
    house.hand_over()
    house.one.heard()
    say(house.rig, house.client, b'431["while frozen"]')
    assert packets(house.one) == [(house.number, b'431["while frozen"]')]
    house.state(acks=2, pending=(2,))
    (offer,) = house.two.heard(v1.Adopt)
    house.two.say(v1.Opened(offer.client, *TERMS))
    assert house.one.heard() == [v1.Released(house.number)]
    say(house.rig, house.client, b'433["two"]', b'432["one"]', b'434["two"]')
    assert packets(house.two) == [(offer.client, b'433["two"]'), (offer.client, b'434["two"]')]
    assert house.one.heard() == [v1.Packet(house.number, b'432["one"]'), v1.Done(9, 1)]


def test_a_binary_event_that_has_half_arrived_moves_whole() -> None:
    house = House()
    say(house.rig, house.client, b'451-["file",{"_placeholder":true,"num":0}]')
    number = house.move()
    house.rig.world.node.receive_binary(house.client, b"\x01")
    ((client, payload),) = packets(house.two)
    assert (client, payload.endswith(b"\x1ebAQ==")) == (number, True)


def test_the_former_app_server_dies_frozen() -> None:
    house = House()
    house.hand_over()
    house.one.server.give_up()
    assert ends(house.rig) == ["app-lost"]


def test_the_former_app_server_leaves_while_no_other_one_is_there() -> None:
    rig = TurningRig()
    one = rig.app("one")
    number, client = one.client("/")
    one.say(v1.HandOver(9))
    one.heard()
    one.say(v1.State(number, (Leaving("/", f"s{number}", b"1", 0),)))
    assert one.heard(v1.Done) == [v1.Done(9, 1)]
    one.line.lose()
    one.server.farewell()
    say(rig, client, EVENT)
    rig.after(10)
    assert sink_of(client).closed == []
    two = rig.app("two")
    (offer,) = two.heard(v1.Adopt)
    assert offer.sockets == (Arriving("/", f"s{number}", (), b"1", 0),)
    two.say(v1.Opened(offer.client, *TERMS))
    assert packets(two) == [(offer.client, EVENT)]


def test_an_app_server_of_revision_4_is_not_asked() -> None:
    house = House()
    old = App(house.rig, "old").dial(revision=4)
    house.two.server.app.others = 9
    house.move()
    assert old.heard() == []
    assert house.client.server is house.two.server.app


def test_a_link_that_breaks_meanwhile_is_no_loss() -> None:
    house = House(links=LinkSettings(grace=5.0))
    house.hand_over()
    house.one.heard()
    house.one.cut()
    house.rig.after(1)
    house.one.back()
    house.state()
    (offer,) = house.two.heard(v1.Adopt)
    house.two.cut()
    house.two.back()
    house.two.say(v1.Opened(offer.client, *TERMS))
    assert house.one.heard() == [v1.Released(house.number), v1.Done(9, 1)]


def test_a_moved_client_is_held_back_by_its_new_app_server_alone() -> None:
    house = House()
    house.one.line.takes = 0
    house.one.line.pause_writing()
    say(house.rig, house.client, EVENT)
    assert not sink_of(house.client).reading
    house.one.line.takes = None
    house.hand_over()
    house.one.line.resume_writing()
    house.one.heard()
    house.state()
    (offer,) = house.two.heard(v1.Adopt)
    house.two.say(v1.Opened(offer.client, *TERMS))
    assert sink_of(house.client).reading


def clients_of(app: App) -> set[Connection]:
    """The clients that the service counts for an app server."""
    return app.server.app.clients


def test_the_new_app_server_may_close_the_client_as_any() -> None:
    house = House()
    number = house.move()
    assert (clients_of(house.one), clients_of(house.two)) == (set(), {house.client})
    house.two.say(v1.Close(number))
    assert ends(house.rig) == ["app-closed"]
