"""The REST API to `azure-messaging-webpubsubservice`, unmodified."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from moorage.auth import AccessKeys, client_audience, verify
from moorage.wire.commands import (
    CloseConnections,
    Exists,
    JoinGroups,
    LeaveGroups,
    Member,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.filters.compiled import compile_filter
from tests.control.rest_node import KEY, FakeNode

EVENT = '42["hi",1]'


@pytest.fixture
def client(base: str) -> Iterator[WebPubSubServiceClient]:
    with WebPubSubServiceClient.from_connection_string(
        f"Endpoint={base};AccessKey={KEY};Version=1.0;", hub="h", retry_total=0
    ) as made:
        yield made


class TestPythonSdk:
    def test_sends(self, client: WebPubSubServiceClient, node: FakeNode) -> None:
        text = "userId eq 'o''neil' and not ('x+y&z' in groups)"
        client.send_to_all(EVENT, content_type="text/plain", excluded=["a", "b"], filter=text)
        client.send_to_group("0~Lw~cm0", EVENT, content_type="text/plain", filter="'g' in groups")
        client.send_to_group("nobody/there é", EVENT, content_type="text/plain")
        client.send_to_user("bob", EVENT, content_type="text/plain")
        client.send_to_user("nobody", EVENT, content_type="text/plain")
        client.send_to_connection("c1", EVENT, content_type="text/plain")
        payload = EVENT.encode()
        assert node.asked == [
            Send("h", Selection(filter=compile_filter(text), excluded=("a", "b")), payload),
            Send("h", Selection(group="0~Lw~cm0", filter=compile_filter("'g' in groups")), payload),
            Send("h", Selection(group="nobody/there é"), payload),
            Send("h", Selection(user="bob"), payload),
            Send("h", Selection(user="nobody"), payload),
            SendToConnection("h", "c1", payload),
        ]
        assert node.counted[0] == ("send_to_all", 202, None)

    def test_send_to_an_unknown_connection(self, client: WebPubSubServiceClient, node: FakeNode) -> None:
        with pytest.raises(ResourceNotFoundError):
            client.send_to_connection("gone", EVENT, content_type="text/plain")
        assert node.counted == [("send_to_connection", 404, "api-not-found")]

    def test_send_of_json_tells_what_to_send(self, client: WebPubSubServiceClient, node: FakeNode) -> None:
        with pytest.raises(HttpResponseError) as caught:
            client.send_to_all({"x": 1})
        assert caught.value.status_code == 415
        with pytest.raises(HttpResponseError):
            client.send_to_all(io.BytesIO(b"\x01"), content_type="application/octet-stream")
        with pytest.raises(HttpResponseError):
            client.send_to_all("plain text", content_type="text/plain")
        assert node.asked == []
        assert [reason for _, _, reason in node.counted] == [
            "api-bad-content-type",
            "api-bad-content-type",
            "api-bad-payload",
        ]

    def test_exists(self, client: WebPubSubServiceClient, node: FakeNode) -> None:
        assert client.connection_exists("c1")
        assert not client.connection_exists("c2")
        assert client.user_exists("bob")
        assert not client.user_exists("fake user")
        assert client.group_exists("g")
        assert not client.group_exists("fake group")
        assert node.asked[-1] == Exists("h", Selection(group="fake group"))
        assert node.counted[-1] == ("group_exists", 404, None)

    def test_groups(self, client: WebPubSubServiceClient, node: FakeNode) -> None:
        client.add_connection_to_group("g2", "c1")
        client.add_user_to_group("g2", "bob")
        client.remove_connection_from_group("g2", "c1")
        client.remove_user_from_group("g2", "bob")
        client.remove_connection_from_all_groups("c1")
        client.remove_user_from_all_groups("bob")
        # These two are younger than the package; its pipeline makes the token and the request.
        for operation, body in (
            (":addToGroups", {"groups": ["a", "b"], "filter": "connectionId eq 'c1'"}),
            (":removeFromGroups", {"groups": ["a"], "filter": "'g' in groups"}),
        ):
            request = HttpRequest("POST", f"/api/hubs/h/{operation}?api-version=2024-12-01", json=body)
            assert client.send_request(request).status_code == 200
        c1, bob = Selection(connection="c1"), Selection(user="bob")
        assert node.asked == [
            JoinGroups("h", c1, ("g2",)),
            JoinGroups("h", bob, ("g2",)),
            LeaveGroups("h", c1, ("g2",)),
            LeaveGroups("h", bob, ("g2",)),
            LeaveGroups("h", c1, None),
            LeaveGroups("h", bob, None),
            JoinGroups("h", Selection(filter=compile_filter("connectionId eq 'c1'")), ("a", "b")),
            LeaveGroups("h", Selection(filter=compile_filter("'g' in groups")), ("a",)),
        ]

    def test_groups_of_strangers(self, client: WebPubSubServiceClient) -> None:
        with pytest.raises(ResourceNotFoundError):
            client.add_connection_to_group("g", "gone")
        with pytest.raises(ResourceNotFoundError):
            client.add_user_to_group("g", "nobody")
        # Leaving is done when nobody is there.
        client.remove_connection_from_group("g", "gone")
        client.remove_user_from_group("g", "nobody")
        client.remove_connection_from_all_groups("gone")
        client.remove_user_from_all_groups("nobody")

    def test_closing(self, client: WebPubSubServiceClient, node: FakeNode) -> None:
        client.close_connection("c1", reason="bye & thanks")
        client.close_connection("gone")
        client.close_all_connections(excluded=["a", "b"], reason="x")
        client.close_group_connections("g", excluded=["a"])
        client.close_user_connections("bob")
        assert node.asked == [
            CloseConnections("h", Selection(connection="c1"), "bye & thanks"),
            CloseConnections("h", Selection(connection="gone")),
            CloseConnections("h", Selection(excluded=("a", "b")), "x"),
            CloseConnections("h", Selection(group="g", excluded=("a",))),
            CloseConnections("h", Selection(user="bob")),
        ]

    def test_permissions(self, client: WebPubSubServiceClient, node: FakeNode) -> None:
        assert not client.has_permission("sendToGroup", "c1", target_name="g")
        with pytest.raises(ResourceNotFoundError):
            client.grant_permission("sendToGroup", "c1", target_name="g")
        assert node.counted[-1] == ("grant_permission", 404, "api-no-permissions")

    @pytest.mark.parametrize(
        ("size", "top", "pages"), [(6, None, 1), (450, None, 3), (450, 250, 2), (450, 3, 1), (0, None, 1)]
    )
    def test_list_connections(
        self, client: WebPubSubServiceClient, node: FakeNode, size: int, top: int | None, pages: int
    ) -> None:
        node.groups["big"] = [Member(f"c{n:03}/ü", None if n % 2 else f"u{n}") for n in range(size)]
        found = [(row.connection_id, row.user_id) for row in client.list_connections(group="big", top=top)]
        assert found == [(row.connection_id, row.user_id) for row in node.groups["big"][:top]]
        assert len(node.asked) == pages

    def test_tokens(self, client: WebPubSubServiceClient, base: str) -> None:
        made = client.get_client_access_token(
            user_id="bob", groups=["g"], roles=["r"], minutes_to_expire=5, client_protocol="SocketIO"
        )
        claims = verify(
            made["token"], AccessKeys(KEY), client_audience(urlsplit(base).netloc, "h"), time.time(), 30
        )
        assert (claims.user_id, claims.groups, claims.all["role"]) == ("bob", ("g",), ["r"])

    def test_health(self, client: WebPubSubServiceClient) -> None:
        answer = client.send_request(HttpRequest("HEAD", "/api/health"))
        assert answer.status_code == 200

    def test_another_key(self, base: str, node: FakeNode) -> None:
        client = WebPubSubServiceClient.from_connection_string(
            f"Endpoint={base};AccessKey=another-0123456789abcdef0123456789;Version=1.0;", hub="h"
        )
        with client, pytest.raises(ClientAuthenticationError):
            client.send_to_all(EVENT, content_type="text/plain")
        assert node.counted == [("send_to_all", 401, "token-signature")]
