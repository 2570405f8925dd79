"""Whether a call's media is still there: two faults that no signalling tells.

One-way audio: we speak, and the far end's sound never came (a firewall, a wrong address). Half
closed: it came, and then stopped for good while the call stayed up. Comfort noise, keys and every
other packet are life, so a customer who is merely silent is neither. Pure: times come from outside.

The robot gives up on a silent customer long before a half-closed call ends by itself. So a hang-up
asks once more: a far end that sent without a pause, and then nothing, did not fall silent.
"""

from typing import Final, NamedTuple

from ringlog.dispositions import HALF_CLOSED, ONE_WAY_AUDIO

ONE_WAY_US: Final = 10_000_000
"""How long the robot speaks to a far end that never sent a packet. Telephones send from the answer
on; one that suppresses silence sends at its first word."""

HALF_CLOSED_US: Final = 60_000_000
"""How long a far end that was heard may send nothing at all while we speak to it. Longer than a
customer is silent on a line without comfort noise: the robot has ended such a call before."""

SILENT_US: Final = 300_000_000
"""The same where the robot is not at work: nobody spoke yet, or a person has taken over."""


CUT_US: Final = 10_000_000
"""How long a far end that sent without a pause may have sent nothing when the robot hangs up."""

STEADY_US: Final = 5_000_000
"""How long sound has to come for its far end to count as one that sends in silence, too. No word is
that long, so a far end that sends words alone is told apart."""

PAUSE_US: Final = 1_000_000
"""Nothing for this long, and then sound again, is the pause of a far end that sends words alone."""


class Presence(NamedTuple):
    """What is known of a call's media. Times are microseconds."""

    heard: bool
    """The far end has sent something, to this edge or to an earlier one."""
    quiet_us: int
    """Since it last did."""
    spoken_us: int | None
    """Since our first sound; None: we have said nothing."""
    handed_over: bool
    """The call was transferred: its sound may go elsewhere."""
    steady: bool = False
    """It sent for `STEADY_US` without a pause, in silence too, until it sent nothing more."""


def fault_of(media: Presence) -> str | None:
    """The disposition with which a call ends for its media; None while it goes on."""
    speaks = media.spoken_us is not None and not media.handed_over
    if not media.heard:
        if speaks and (media.spoken_us or 0) > ONE_WAY_US:
            return ONE_WAY_AUDIO
        return "failed" if media.quiet_us > SILENT_US else None
    return HALF_CLOSED if media.quiet_us > (HALF_CLOSED_US if speaks else SILENT_US) else None


def fault_at_end(media: Presence) -> str | None:
    """The disposition of a call that the robot ends as an ordinary one, where its media was gone by
    then; None where nothing speaks for that."""
    cut = media.steady and media.quiet_us > CUT_US and not media.handed_over
    return HALF_CLOSED if cut else fault_of(media)
