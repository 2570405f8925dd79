"""One model per topic; a topic has one record schema."""

from schemas.events.analytics import Alert, IntentWindow, Tick, VariantWindow
from schemas.events.calls import CallEvent, MediaChunk
from schemas.events.customers import (
    CampaignConsent,
    CustomerChange,
    Message,
    OptOut,
    OptOutScope,
    Payment,
    PaymentPromise,
    PlacedOrder,
    Profile,
)
from schemas.events.deliveries import CrmDelivery
from schemas.events.dialogue import Directive, Token, Transcript, Turn
from schemas.events.operations import (
    Audit,
    Campaign,
    CampaignContact,
    DeadLetter,
    Lease,
    LogLine,
    Playbook,
    PromptList,
    PromptRef,
    PromptSound,
    RobotStatus,
    TrunkSetting,
    TrunkStatus,
)
from schemas.events.tasks import DispatchInbox, ProfileInbox, TaskEvent, TaskRequested

__all__ = [
    "Alert",
    "Audit",
    "CallEvent",
    "Campaign",
    "CampaignConsent",
    "CampaignContact",
    "CrmDelivery",
    "CustomerChange",
    "DeadLetter",
    "Directive",
    "DispatchInbox",
    "IntentWindow",
    "Lease",
    "LogLine",
    "MediaChunk",
    "Message",
    "OptOut",
    "OptOutScope",
    "Payment",
    "PaymentPromise",
    "PlacedOrder",
    "Playbook",
    "Profile",
    "ProfileInbox",
    "PromptList",
    "PromptRef",
    "PromptSound",
    "RobotStatus",
    "TaskEvent",
    "TaskRequested",
    "Tick",
    "Token",
    "Transcript",
    "TrunkSetting",
    "TrunkStatus",
    "Turn",
    "VariantWindow",
]
