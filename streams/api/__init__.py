"""REST, OpenAPI and the live WebSocket, over state folded from the log."""
