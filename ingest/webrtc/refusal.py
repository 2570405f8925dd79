"""What the WHIP endpoint answers when it refuses."""

from http import HTTPStatus


class WhipRefused(Exception):
    """A request that is not carried out: the HTTP status and, as text, the reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
