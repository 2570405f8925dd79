"""The checks, each a fold of its own; `ALL` in the order of the report."""

from verify.check import Check
from verify.checks.callbacks import CallbackWishes
from verify.checks.calls import Calls
from verify.checks.campaigns import CampaignCalls
from verify.checks.dead_letters import DeadLetters
from verify.checks.directives import Directives
from verify.checks.history import History
from verify.checks.ids import Ids
from verify.checks.law import Law
from verify.checks.numbers import LinesInUse
from verify.checks.optouts import OptOuts
from verify.checks.permits import Permits
from verify.checks.profiles import Profiles
from verify.checks.routes import Routes
from verify.checks.status import Status
from verify.checks.tasks import Tasks
from verify.checks.tries import CallTries
from verify.checks.turns import Turns
from verify.checks.views import Views
from verify.checks.windows import Windows

ALL: tuple[type[Check], ...] = (
    Ids, Calls, Directives, Turns, Permits, CallTries, LinesInUse, OptOuts, Law, Tasks,
    CampaignCalls, CallbackWishes, Routes, Profiles, Status, Views, Windows, History, DeadLetters,
)  # fmt: skip

__all__ = ["ALL", "Ids"]
