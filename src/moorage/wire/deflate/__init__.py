"""permessage-deflate (RFC 7692) without context takeover: negotiation, and messages in both directions."""
