"""Every close, refusal and API failure, numbered.

The number is the same in logs, metrics, HTTP bodies and `docs/reference/reasons.md` (generated
from this table). Ranges carry meaning:

    1000-1099  ordinary ends: somebody asked for it
    1100-1199  the service ends it, the client should come back
    2000-2099  the client broke the protocol or a limit
    2100-2199  an HTTP request of the client edge was refused
    3000-3099  a token was refused
    4000-4099  an app server's link
    5000-5099  the data-plane API
    5100-5199  the Admin API
    6000-6099  another node of the cluster
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """One row. `retry` is true if the same request may succeed later; `http` is the status
    of a refusal before or outside a WebSocket; `ws` is the close code on a WebSocket."""

    number: int
    name: str
    text: str
    retry: bool
    http: int
    ws: int
    eio: int = 3
    """`code` of an Engine.IO error body (0 transport, 1 sid, 2 method, 3 request, 4 forbidden, 5 version)."""


R = Reason

# 1000: ordinary ends
CLIENT_CLOSED = R(1000, "client-closed", "the client closed the connection", True, 200, 1000)
TRANSPORT_LOST = R(1001, "transport-lost", "the client's connection broke", True, 200, 1006)
APP_CLOSED = R(1002, "app-closed", "the app server closed the connection", True, 200, 1000)
API_CLOSED = R(1003, "api-closed", "an operator or a REST caller closed the connection", True, 200, 1000)

# 1100: the service ends it, come back
DRAINING = R(1100, "draining", "the service is shutting down", True, 503, 1001)
NO_APP_SERVER = R(1101, "no-app-server", "no app server is connected for this hub", True, 503, 1013)
APP_LOST = R(1102, "app-lost", "the app server went away and did not come back", True, 503, 1012)
APP_FORGOT = R(1103, "app-forgot", "the app server no longer knows this connection", True, 410, 1012)
CONNECT_TIMEOUT = R(1104, "connect-timeout", "the app server did not answer in time", True, 504, 1013)
TOO_MANY_CONNECTIONS = R(1105, "too-many-connections", "the connection limit is reached", True, 503, 1013)
APP_REFUSED = R(1106, "app-refused", "the app server refused the connection", True, 400, 1008)
APP_ERROR = R(1107, "app-error", "the app server failed to open the connection", True, 502, 1011)
LINK_OVERFLOW = R(1108, "link-overflow", "too much is waiting for the app server", True, 503, 1013)
PING_TIMEOUT = R(1109, "ping-timeout", "the client did not answer a ping", True, 408, 1001)
APP_LET_GO = R(1110, "app-let-go", "the app server released the client to reconnect", True, 503, 1012)
RETURNED = R(1111, "returned", "the client came back on another connection", True, 409, 1001)
MISSED_TOO_MUCH = R(1112, "missed-too-much", "what the client has missed is no longer kept", True, 410, 1012)
HUB_FULL = R(1114, "hub-full", "the hub has as many clients as it may", True, 503, 1013)
USER_FULL = R(1115, "user-full", "the user has as many clients as a user may", True, 429, 1013)
EVENTS_LOST = R(1113, "events-lost", "events for the client were lost between two nodes", True, 410, 1012)
INTERNAL = R(1199, "internal", "internal error", True, 500, 1011)

# 2000: the client broke the protocol or a limit
SLOW_CLIENT = R(2000, "slow-client", "the client does not read fast enough", True, 408, 1008)
BAD_PACKET = R(2001, "bad-packet", "not an Engine.IO packet", False, 400, 1002)
BAD_UTF8 = R(2002, "bad-utf8", "text is not UTF-8", False, 400, 1007)
PAYLOAD_TOO_LARGE = R(2003, "payload-too-large", "payload is too large", False, 413, 1009)
BAD_SOCKETIO_PACKET = R(2004, "bad-socketio-packet", "not a Socket.IO packet", False, 400, 1002)
TOO_MANY_ATTACHMENTS = R(2005, "too-many-attachments", "too many binary attachments", False, 413, 1009)
UNEXPECTED_BINARY = R(2006, "unexpected-binary", "binary data where none was announced", False, 400, 1002)
MISSING_ATTACHMENT = R(2007, "missing-attachment", "text where a binary attachment was due", False, 400, 1002)
DUPLICATE_CONNECT = R(2008, "duplicate-connect", "the namespace is already connected", False, 400, 1002)
TOO_MANY_NAMESPACES = R(
    2009, "too-many-namespaces", "too many namespaces on one connection", False, 400, 1008
)
TOO_MANY_GROUPS = R(2010, "too-many-groups", "too many groups on one connection", False, 400, 1008)
TOO_MANY_PACKETS = R(2011, "too-many-packets", "too many packets in one payload", False, 413, 1009)
BAD_FRAME = R(2012, "bad-frame", "not a valid WebSocket frame", False, 400, 1002)
FRAGMENT_FLOOD = R(2013, "fragment-flood", "too many fragments in one message", False, 413, 1009)
UPGRADE_TIMEOUT = R(2014, "upgrade-timeout", "the transport upgrade was not finished", True, 408, 1008)
PACKET_WHILE_OPENING = R(
    2015, "packet-while-opening", "data before the connection was open", False, 400, 1002
)
TOO_MANY_ROOMS = R(2018, "too-many-rooms", "the hub has as many rooms as it may", False, 400, 1008)
TOO_MANY_MESSAGES = R(2017, "too-many-messages", "the client sends too many messages", True, 429, 1008)
# 2016 was `poll-timeout`. No release has used it, and numbers are not reused.

# 2100: an HTTP request of the client edge was refused
UNKNOWN_TRANSPORT = R(2100, "unknown-transport", "Transport unknown", False, 400, 1002, 0)
UNKNOWN_SID = R(2101, "unknown-sid", "Session ID unknown", True, 400, 1002, 1)
BAD_METHOD = R(2102, "bad-method", "Bad handshake method", False, 400, 1002, 2)
BAD_REQUEST = R(2103, "bad-request", "Bad request", False, 400, 1002, 3)
UNSUPPORTED_VERSION = R(2104, "unsupported-version", "Unsupported protocol version", False, 400, 1002, 5)
DUPLICATE_POLL = R(2105, "duplicate-poll", "another poll is already waiting", False, 400, 1002, 3)
WRONG_CONTENT_TYPE = R(2106, "wrong-content-type", "wrong content type", False, 415, 1002, 3)
UNKNOWN_HUB = R(2107, "unknown-hub", "no such hub", False, 404, 1008, 3)
UNKNOWN_PATH = R(2108, "unknown-path", "no such path", False, 404, 1008, 3)
ALREADY_UPGRADED = R(2109, "already-upgraded", "the session has left HTTP polling", False, 400, 1002, 3)
BAD_HTTP = R(2110, "bad-http", "not a valid HTTP request", False, 400, 1002, 3)
HEADERS_TOO_LARGE = R(2111, "headers-too-large", "request headers are too large", False, 431, 1002, 3)
HEADER_TIMEOUT = R(2112, "header-timeout", "the request did not arrive in time", True, 408, 1002, 3)
ORIGIN_REFUSED = R(2113, "origin-refused", "pages of this origin may not connect", False, 403, 1008, 4)
BAD_UPGRADE = R(2114, "bad-upgrade", "not a valid WebSocket upgrade", False, 400, 1002, 3)
DUPLICATE_UPGRADE = R(2115, "duplicate-upgrade", "the session is upgrading already", False, 400, 1002, 3)
DUPLICATE_POST = R(2116, "duplicate-post", "another POST is already under way", False, 400, 1002, 3)
ANSWER_TIMEOUT = R(2117, "answer-timeout", "the answer was not taken in time", True, 408, 1002, 3)
PROXY_REFUSED = R(
    2118, "proxy-refused", "a PROXY header from a peer that is not a trusted proxy", False, 400, 1002, 3
)
BAD_PROXY_HEADER = R(
    2119, "bad-proxy-header", "the proxy's PROXY header is missing or not valid", False, 400, 1002, 3
)
TLS_HANDSHAKE = R(2120, "tls-handshake", "the TLS handshake failed", False, 400, 1002, 3)
TOO_MANY_TCP_CONNECTIONS = R(
    2124, "too-many-tcp-connections", "too many connections from this address", True, 429, 1008
)
ADDRESS_REFUSED = R(2121, "address-refused", "clients at this address may not connect", False, 403, 1008, 4)
TOO_MANY_CONNECTS = R(
    2122, "too-many-connects", "too many new connections of this address or user", True, 429, 1013, 3
)

# 3000: a token was refused
TOKEN_MISSING = R(3000, "token-missing", "an access token is required", False, 401, 1008, 4)
TOKEN_MALFORMED = R(3001, "token-malformed", "the access token cannot be read", False, 401, 1008, 4)
TOKEN_ALGORITHM = R(3002, "token-algorithm", "the token's algorithm is not allowed", False, 401, 1008, 4)
TOKEN_SIGNATURE = R(
    3003, "token-signature", "the token is not signed with a key of this service", False, 401, 1008, 4
)
TOKEN_EXPIRED = R(3004, "token-expired", "the access token has expired", True, 401, 1008, 4)
TOKEN_NOT_YET = R(3005, "token-not-yet", "the access token is not valid yet", True, 401, 1008, 4)
TOKEN_AUDIENCE = R(3006, "token-audience", "the access token is for another audience", False, 401, 1008, 4)
TOKEN_CLAIMS = R(
    3007, "token-claims", "the access token lacks a claim or holds a bad one", False, 401, 1008, 4
)

# 4000: an app server's link
LINK_CLOSED = R(4000, "link-closed", "the app server closed the link", True, 200, 1000)
LINK_LOST = R(4001, "link-lost", "the link broke", True, 200, 1006)
LINK_BAD_FRAME = R(4002, "link-bad-frame", "not a tunnel frame", False, 400, 1002)
LINK_FRAME_TOO_LARGE = R(4003, "link-frame-too-large", "the tunnel frame is too large", False, 413, 1009)
LINK_SLOW = R(4004, "link-slow", "the app server does not read fast enough", True, 408, 1008)
LINK_UNKNOWN_DIALECT = R(4005, "link-unknown-dialect", "no such link dialect", False, 400, 1002)
LINK_TOO_MANY = R(4006, "link-too-many", "too many links for this hub", True, 503, 1013)
LINK_VERSION = R(4007, "link-version", "no such version of the link dialect", False, 400, 1002)
LINK_SERVER_TAKEN = R(4008, "link-server-taken", "another app server uses this id", True, 409, 1008)
LINK_BAD_REQUEST = R(
    4009, "link-bad-request", "the app server asked for something impossible", False, 400, 1008
)
LINK_SILENT = R(4010, "link-silent", "nothing came over the link for too long", True, 408, 1001)
LINK_REPLACED = R(4011, "link-replaced", "the app server opened a new link instead", True, 409, 1001)
LINK_SESSION_GONE = R(4012, "link-session-gone", "the node that the link is for is gone", True, 410, 1012)
LINK_SESSION_OVER = R(4013, "link-session-over", "the service has ended the session", True, 410, 1012)

# 5000: the data-plane API
API_BAD_PATH = R(5000, "api-bad-path", "no such operation", False, 404, 1008)
API_BAD_METHOD = R(5001, "api-bad-method", "the operation does not take this method", False, 405, 1008)
API_BAD_FILTER = R(5002, "api-bad-filter", "the filter is not valid", False, 400, 1008)
API_BAD_BODY = R(5003, "api-bad-body", "the request body is not valid", False, 400, 1008)
API_BAD_CONTENT_TYPE = R(5004, "api-bad-content-type", "the content type is not supported", False, 415, 1008)
API_BAD_ARGUMENT = R(5005, "api-bad-argument", "a parameter is not valid", False, 400, 1008)
API_NOT_FOUND = R(5006, "api-not-found", "no such connection, group or user", False, 404, 1008)
API_NO_PERMISSIONS = R(
    5007, "api-no-permissions", "permissions have no meaning for Socket.IO clients", False, 404, 1008
)
API_BODY_TOO_LARGE = R(5008, "api-body-too-large", "the request body is too large", False, 413, 1008)
API_BAD_PAYLOAD = R(5009, "api-bad-payload", "the body is not an Engine.IO payload", False, 400, 1008)
API_BUSY = R(5010, "api-busy", "too many requests of this hub are waiting", True, 503, 1013)

# 5100: the Admin API
ADMIN_NO_KEY = R(5100, "admin-no-key", "a key of the Admin API is required", False, 401, 1008)
ADMIN_WRONG_KEY = R(5101, "admin-wrong-key", "not a key of the Admin API", False, 401, 1008)
ADMIN_SESSION_OVER = R(5102, "admin-session-over", "the session of the dashboard is over", False, 401, 1008)
ADMIN_ROLE = R(5103, "admin-role", "the role of this key does not allow it", False, 403, 1008)
ADMIN_CROSS_SITE = R(
    5104, "admin-cross-site", "the request does not come from the dashboard", False, 403, 1008
)
ADMIN_TOO_MANY_TRIES = R(
    5105, "admin-too-many-tries", "too many wrong keys from this address", True, 429, 1008
)
ADMIN_BUSY = R(5106, "admin-busy", "too many requests of operators are waiting", True, 503, 1013)
ADMIN_UNKNOWN_NODE = R(5107, "admin-unknown-node", "no such node in the cluster", False, 404, 1008)
ADMIN_NODE_SILENT = R(
    5108, "admin-node-silent", "the node with the answer did not answer in time", True, 504, 1013
)
ADMIN_TOO_MANY_TRACES = R(5110, "admin-too-many-traces", "too many traces at this node", True, 503, 1013)
ADMIN_PAYLOADS_OFF = R(
    5111, "admin-payloads-off", "the setting admin.trace_payloads is off", False, 403, 1008
)
ADMIN_TOO_MANY_VIEWERS = R(5113, "admin-too-many-viewers", "too many Admin UIs at this node", True, 503, 1013)
ADMIN_KEYS_CHANGED = R(5112, "admin-keys-changed", "the keys of the Admin API have changed", True, 401, 1008)

# 6000: another node of the cluster
NODE_BAD_MESSAGE = R(6000, "node-bad-message", "not a message between nodes", False, 400, 1002)


def stays_away(reason: Reason) -> bool:
    """True if a client that is closed for this reason must not reconnect. It is then sent an Engine.IO close packet
    (`1`), after which Python's stock client does not reconnect. The JavaScript and Java clients always do."""
    return not reason.retry or reason.number in (APP_CLOSED.number, API_CLOSED.number)


CATALOGUE: dict[str, Reason] = {
    row.name: row
    for row in sorted((v for v in tuple(globals().values()) if isinstance(v, Reason)), key=lambda r: r.number)
}
