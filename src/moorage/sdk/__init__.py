"""The Python SDK: Socket.IO app servers whose clients connect to Moorage."""
