"""Length of Opus packets, without decoding them (RFC 6716)."""

from typing import Final

OPUS_CLOCK_HZ: Final = 48_000
"""Of every Opus stream over RTP (RFC 7587 section 4.1); no other codec here has it."""


def opus_samples(payload: bytes) -> int:
    """Length of an Opus packet in samples of 48 kHz (RFC 6716 section 3.1); 0 if it is none."""
    if not payload:
        return 0
    config = payload[0] >> 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    code = payload[0] & 3
    count = (1, 2, 2, 0)[code]
    if code == 3 and len(payload) > 1:
        count = payload[1] & 0x3F
    return frame * count if frame * count <= 5760 else 0
