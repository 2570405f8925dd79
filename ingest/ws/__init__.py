"""The media WebSocket: messages and server."""
