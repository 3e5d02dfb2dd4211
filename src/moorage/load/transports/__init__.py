"""How a client's packets reach the server: over WebSocket, or over HTTP long-polling."""
