"""Which version of a campaign, and which law of the site, a pool went by at a time, as the pool's
inbox tells."""

import json
from collections import defaultdict

from ringlog.campaigns.aggregate import superseded
from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.terms import settings_of
from ringlog.law.site import NO_LAW, SiteLaw
from schemas.events import Campaign
from schemas.text import from_json
from verify.record import LogRecord

Arrival = tuple[int, Campaign]
"""Kafka's time of a version's record in an inbox, which is the pool's clock, and the version."""


class VersionsInForce:
    """A fold of the campaigns' records in `dispatch.inbox`."""

    def __init__(self) -> None:
        self._arrivals: dict[tuple[str, str], dict[int, list[Arrival]]] = defaultdict(dict)
        self._settings: dict[str, CampaignSettings | None] = {}

    def take(self, record: LogRecord) -> None:
        """Takes a record of the inbox; only those of campaigns count."""
        event = record.event
        if event["kind"] != "campaign":
            return
        try:
            version = from_json("campaigns", json.loads(event["body"])["campaign"])
        except (ValueError, KeyError, TypeError):
            return  # dispatch sends it to dead_letters and goes on
        if not isinstance(version, Campaign):
            return
        campaign = self._arrivals[event["pool"] or "default", version.campaign_id or ""]
        arrivals = campaign.setdefault(record.partition, [])
        if not arrivals or not superseded(arrivals[-1][1], version):
            arrivals.append((record.timestamp_ms, version))

    def during(
        self, pool: str | None, campaign_id: str | None, from_ms: int, to_ms: int
    ) -> list[Campaign]:
        """Versions that may have been in force at any time of a span: what came within one
        millisecond has no order that a decision's time could tell."""
        found: list[Campaign] = []
        for arrivals in self._arrivals.get((pool or "", campaign_id or ""), {}).values():
            before = [version for at, version in arrivals if at < from_ms]
            found += before[-1:]
            found += [version for at, version in arrivals if from_ms <= at <= to_ms]
        return found

    def at(self, pool: str | None, campaign_id: str | None, at_ms: int) -> list[Campaign]:
        """Versions that may have been in force at a time; none where the pool knew no campaign of
        that id."""
        return self.during(pool, campaign_id, at_ms, at_ms)

    def pools(self, campaign_id: str) -> dict[str, Campaign]:
        """The newest version that each pool knows."""
        return {
            pool: max((arrivals[-1] for arrivals in of.values()), key=lambda a: a[1].version)[1]
            for (pool, this), of in self._arrivals.items()
            if this == campaign_id
        }

    def settings(self, version: Campaign) -> CampaignSettings | None:
        """A version's settings; None where they cannot be read, so that it calls nobody."""
        if version.event_id not in self._settings:
            try:
                self._settings[version.event_id] = settings_of(version)
            except ValueError:
                self._settings[version.event_id] = None
        return self._settings[version.event_id]


class LawsInForce:
    """A fold of the settings' records in `dispatch.inbox`: the law of calls without a campaign."""

    def __init__(self) -> None:
        self._arrivals: dict[str, list[tuple[int, SiteLaw]]] = defaultdict(list)

    def take(self, record: LogRecord) -> None:
        """Takes a record of the inbox; only those of settings count."""
        event = record.event
        if event["kind"] != "settings":
            return
        try:
            law = SiteLaw.model_validate(json.loads(event["body"]).get("law", {}))
        except (ValueError, AttributeError, TypeError):
            return  # dispatch sends it to dead_letters and goes on
        self._arrivals[event["pool"] or "default"].append((record.timestamp_ms, law))

    def at(self, pool: str | None, at_ms: int) -> list[SiteLaw]:
        """What may have been in force at a time; no law before the first record."""
        arrivals = self._arrivals.get(pool or "", [])
        before = [law for at, law in arrivals if at < at_ms] or [NO_LAW]
        return [before[-1], *(law for at, law in arrivals if at == at_ms)]
