"""Contacts of rows: which column is what, and what is wrong with a row. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from pydantic import TypeAdapter, ValidationError

from ringlog.campaigns.settings import Skill
from ringlog.campaigns.tables import ERROR_COLUMN, ListRow
from ringlog.identifier import Id
from ringlog.law.places import NoPlace, place_of
from ringlog.law.rules import Consent
from schemas import ids
from schemas.events import CampaignContact, CustomerChange
from schemas.phone import InvalidNumber, e164
from schemas.times import checked_ms

FIELDS: Final = ("phone", "customer_id", "name", "priority", "tags", "level", "zone", "region",
                 "consent", "consent_until")  # fmt: skip
"""What a column may be. Every other column is an attribute of the customer, by its heading."""

SYNONYMS: Final = {
    "phone": ("phone", "tel", "telephone", "mobile", "number", "phone number", "mobile number",
              "手机", "手机号", "手机号码", "电话", "电话号码", "联系电话", "号码"),
    "customer_id": ("customer_id", "customer id", "customer", "id", "客户编号", "客户id", "编号"),
    "name": ("name", "customer name", "full name", "姓名", "客户姓名", "客户名称", "名字"),
    "priority": ("priority", "优先级"),
    "tags": ("tags", "tag", "标签"),
    "level": ("level", "等级", "客户等级", "会员等级"),
    "zone": ("zone", "time zone", "timezone", "时区"),
    "region": ("region", "state", "省份", "地区"),
    "consent": ("consent", "授权", "同意"),
    "consent_until": ("consent_until", "consent until", "授权到期"),
}  # fmt: skip
"""Headings by which a column is known without being told, in small letters."""

MAX_ATTRIBUTES: Final = 40
MAX_ATTRIBUTE: Final = 256
MAX_CONTACT_BYTES: Final = 8_192
"""Longest JSON of a contact: with its tags twice, in the request and in the profile, it must fit
into dispatch's inbox."""

_PRIORITIES = {"high": "high", "medium": "medium", "low": "low", "": "medium", "高": "high",
               "中": "medium", "低": "low"}  # fmt: skip
_SHORTENED = re.compile(r"\d([.,]\d+)?[eE]\+?\d+")
_WHOLE = re.compile(r"(?<=\d)\.0+$")
_SEPARATORS = re.compile(r"[,;，；、|]")
_ID: TypeAdapter[str] = TypeAdapter(Id)
_TAG: TypeAdapter[str] = TypeAdapter(Skill)


@dataclass(frozen=True, slots=True)
class Loading:
    """What is the same for all rows of a list."""

    tenant_id: str
    campaign_id: str
    pool: str
    import_id: str
    region: str
    actor: str
    at_ms: int
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Faulty:
    """A row that is no contact, and why. `duplicate`: the number is on the list already."""

    row: ListRow
    reason: str
    duplicate: bool = False


def columns_of(headings: Iterable[str], told: Mapping[str, str]) -> dict[str, str]:
    """Which heading is which field: as told, else by its name; raises ValueError."""
    headings = list(headings)
    for heading, name in told.items():
        if name not in FIELDS:
            raise ValueError(f"{name!r} is no field; there are {', '.join(FIELDS)}")
        if heading not in headings:
            raise ValueError(f"no column is named {heading[:64]!r}")
    if len(set(told.values())) < len(told):
        raise ValueError("two columns are mapped to one field")
    found = dict(told)
    for name in FIELDS:
        if name in found.values():
            continue
        known = SYNONYMS[name]
        match = next((h for h in headings if h.lower() in known and h not in found), None)
        if match is not None:
            found[match] = name
    if "phone" not in found.values():
        raise ValueError("which column is the telephone number? map one to `phone`")
    return found


class Importer:
    """Takes rows to contacts. `known` holds the ids of contacts that the campaign has; what is
    added joins them."""

    def __init__(self, loading: Loading, known: set[str]) -> None:
        self._loading, self._known = loading, known
        self.told: Mapping[str, str] = {}
        """Which heading is which field, as far as somebody said."""
        self._columns: dict[str, str] = {}
        self._headings: tuple[str, ...] | None = None
        self.rows = self.added = self.duplicates = self.invalid = 0

    def take(self, row: ListRow) -> CampaignContact | Faulty:
        """The contact of the next row, or what is wrong with it."""
        self.rows += 1
        found = Faulty(row, row.fault) if row.fault else self._contact(row)
        if isinstance(found, Faulty):
            self.duplicates += found.duplicate
            self.invalid += not found.duplicate
        else:
            self.added += 1
            self._known.add(found.contact_id)
        return found

    def _contact(self, row: ListRow) -> CampaignContact | Faulty:
        try:
            contact = self._checked(row, self._columns_of(row))
        except InvalidNumber as error:
            return Faulty(row, f"phone: {error}")
        except ValidationError as error:
            return Faulty(row, error.errors(include_url=False, include_input=False)[0]["msg"])
        except ValueError as error:
            return Faulty(row, str(error))
        if len(contact.model_dump_json().encode()) > MAX_CONTACT_BYTES:
            return Faulty(row, f"all columns together are longer than {MAX_CONTACT_BYTES} bytes")
        if contact.contact_id in self._known:
            return Faulty(row, "the number is on the campaign's list already", duplicate=True)
        return contact

    def _columns_of(self, row: ListRow) -> dict[str, str]:
        """Lines of JSON may differ in their members."""
        headings = tuple(row.cells)
        if headings != self._headings:
            told = {heading: name for heading, name in self.told.items() if heading in row.cells}
            self._columns, self._headings = columns_of(headings, told), headings
        return self._columns

    def _checked(self, row: ListRow, columns: Mapping[str, str]) -> CampaignContact:
        loading = self._loading
        told = {name: row.cells.get(heading, "") for heading, name in columns.items()}
        phone = e164(_number(told["phone"]), loading.region)
        attributes = {
            heading: text
            for heading, text in row.cells.items()
            if text and heading not in columns and heading != ERROR_COLUMN
        }
        if len(attributes) > MAX_ATTRIBUTES:
            raise ValueError(f"more than {MAX_ATTRIBUTES} columns with a value")
        for heading, text in attributes.items():
            if len(heading) > 64 or len(text) > MAX_ATTRIBUTE:
                raise ValueError(f"{heading[:64]}: more than {MAX_ATTRIBUTE} characters")
        attributes |= self._place(phone, told) | self._consent(told)
        if level := told.get("level", ""):
            attributes["level"] = level[:64]
        customer = told.get("customer_id") or ids.root_id("customer", loading.tenant_id, phone)
        contact_id = ids.root_id("contact", loading.tenant_id, loading.campaign_id, phone)
        priority = told.get("priority", "").lower()
        if priority not in _PRIORITIES:
            raise ValueError("priority: high, medium or low")
        return CampaignContact.model_validate(
            {
                "event_id": contact_id,
                "occurred_at": loading.at_ms,
                "producer": "api",
                "tenant_id": loading.tenant_id,
                "customer_id": _ID.validate_python(customer),
                "campaign_id": loading.campaign_id,
                "pool": loading.pool,
                "contact_id": contact_id,
                "import_id": loading.import_id,
                "row": row.n,
                "phone": phone,
                "priority": _PRIORITIES[priority],
                "tags": [_TAG.validate_python(t) for t in _tags(told.get("tags", ""))],
                "name": told.get("name", "")[:128] or None,
                "attributes": attributes,
                "actor": loading.actor,
            }
        )

    def _place(self, phone: str, told: Mapping[str, str]) -> dict[str, str]:
        """Zone and region, if the list names them. A number that is never called is refused here
        and not only when it would be dialled."""
        zone, region = told.get("zone", ""), told.get("region", "")
        found = place_of(phone, region, zone)
        if isinstance(found, NoPlace):
            raise ValueError(f"{found.rule}: {found.reason}")
        return {k: v for k, v in (("zone", zone), ("region", region)) if v}

    def _consent(self, told: Mapping[str, str]) -> dict[str, str]:
        found = {}
        if consent := told.get("consent", "").lower():
            if consent not in get_args(Consent):
                raise ValueError(f"consent: one of {', '.join(get_args(Consent))}")
            found["consent"] = consent
        if until := told.get("consent_until", ""):
            value = int(until) if until.isascii() and until.isdigit() else until
            found["consent_until"] = str(checked_ms(value, self._loading.zone))
        return found


def _number(text: str) -> str:
    """A number as a table has it, without a fraction of nothing; raises ValueError for one of
    which a program has kept only the first digits."""
    if _SHORTENED.fullmatch(text):
        raise ValueError(
            "phone: a spreadsheet has shortened the number; make the column text, and export again"
        )
    return _WHOLE.sub("", text)


def _tags(text: str) -> Iterator[str]:
    return (tag for part in _SEPARATORS.split(text) if (tag := part.strip()))


def change_of(contact: CampaignContact) -> CustomerChange:
    """What a list tells of a customer, for their profile: robots say it, dispatch judges by it."""
    return CustomerChange(
        event_id=ids.event_id(contact.event_id, "customer"),
        kind="upserted",
        occurred_at=contact.occurred_at,
        producer=contact.producer,
        causation_id=contact.event_id,
        tenant_id=contact.tenant_id,
        customer_id=contact.customer_id,
        campaign_id=contact.campaign_id,
        source="campaign",
        table=contact.campaign_id,
        position=f"{contact.import_id}/{contact.row}",
        name=contact.name,
        phone=contact.phone,
        level=contact.attributes.get("level"),
        tags=contact.tags,
        attributes={k: v for k, v in contact.attributes.items() if k != "level"},
    )
