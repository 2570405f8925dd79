"""Sizes that the network, its training and its export share."""

from typing import Final

MEL_USED: Final = 60
"""Bins 0..59 lie below 4 kHz; the rest is empty on a telephone line."""

FRAMES_EXTRA: Final = 5
"""Feature frames that a step needs beyond the 4 for each output frame."""
