"""Phone numbers: one form for every spelling.

Numbers are normalised on entry to E.164 (ITU-T E.164: `+`, country code, national number, at most
15 digits), and every hash is of that form. Records from before that rule hold other spellings, and
hashes of them: `Numbers.hashes` names all under which a line may stand on the do-not-call list.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, shortnumberinfo
from phonenumbers.phonenumberutil import ndd_prefix_for_region

MAX_CHARACTERS: Final = 64
"""Longest text that is read as a number."""

_TEXT: Final = re.compile(r"(?:tel:)?[\d+\s().\-/\u2010-\u2015\u3000\uff08-\uff0f]+", re.IGNORECASE)
"""Digits of any script and the separators that people write, dashes and full-width forms too."""

_FULL_WIDTH: Final = {ord(c): ord(c) + 0xFEE0 for c in "+0123456789"}


class InvalidNumber(ValueError):
    """The text is not a number that may be called. The message says why, without the number."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """How a site reads and hashes numbers.

    `region` (ISO 3166-1 alpha-2) is where a number without a country code lies; `key` is the
    site's key.
    """

    region: str
    key: bytes

    def hash(self, text: str) -> str:
        """The do-not-call list's key of a line: HMAC-SHA-256 (RFC 2104) of its E.164 form.

        Text from an old record that is no valid number is hashed as it stood then.
        """
        return self.hashes(text)[0]

    def hashes(self, text: str) -> tuple[str, ...]:
        """`hash`, then the hashes of every spelling that older records may have used."""
        try:
            number = _parsed(text, self.region)
        except InvalidNumber:
            return (self._digest(_as_stood(text)),)
        forms = [phonenumbers.format_number(number, PhoneNumberFormat.E164)]
        code = str(number.country_code)
        national = phonenumbers.national_significant_number(number)
        trunk = ndd_prefix_for_region(self.region, True) or ""
        forms += [f"{code}{national}", f"00{code}{national}"]
        if number.country_code == phonenumbers.country_code_for_region(self.region):
            forms += [national, f"{trunk}{national}"]
        forms += [form.translate(_FULL_WIDTH) for form in forms]
        forms.append(_as_stood(text))
        return tuple(dict.fromkeys(self._digest(form) for form in forms))

    def _digest(self, form: str) -> str:
        return hmac.new(self.key, form.encode(), hashlib.sha256).hexdigest()


def e164(text: str, region: str) -> str:
    """The E.164 form of a number; raises InvalidNumber, also for emergency and short numbers."""
    return phonenumbers.format_number(_parsed(text, region), PhoneNumberFormat.E164)


def _parsed(text: str, region: str) -> PhoneNumber:
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise InvalidNumber(f"longer than {MAX_CHARACTERS} characters")
    if not _TEXT.fullmatch(text):
        raise InvalidNumber("a number has digits, +, spaces, brackets and dashes only")
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise InvalidNumber("not a phone number") from None
    if phonenumbers.is_valid_number(number):
        return number
    digits = phonenumbers.national_significant_number(number)
    if shortnumberinfo.connects_to_emergency_number(digits, region):
        raise InvalidNumber("an emergency number is never called")
    if len(digits) <= 6:
        raise InvalidNumber("a short number is never called; give the whole number")
    raise InvalidNumber(
        f"no line under +{number.country_code} has such a number; a number of another country "
        "needs + and its country code"
    )


def _as_stood(text: str) -> str:
    """What was hashed before numbers were E.164: digits and `+`, as they came."""
    return "".join(c for c in text if c.isdigit() or c == "+")
