"""Amounts of a CRM as whole numbers of the currency's smallest unit."""

import re
from decimal import Decimal, InvalidOperation

MOST = 10**15
"""From this on, an amount in the smallest unit is a mistake."""

_AMOUNT = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)?(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
"""A comma parts thousands, so `12,50` is no amount."""

_DECIMALS = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0,
    "RWF": 0, "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
}  # fmt: skip
"""Currencies whose smallest unit is no hundredth (ISO 4217:2015, table A.1, "minor unit")."""


def minor_of(text: str, currency: str) -> int:
    """`12.50` CNY as 1250; raises ValueError for what is no amount of that currency."""
    is_amount = len(text) <= 40 and _AMOUNT.fullmatch(text)
    try:
        amount = Decimal(text.replace(",", "") if is_amount else "NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or abs(amount) >= Decimal(MOST).scaleb(-digits_of(currency)):
        raise ValueError("want an amount, such as 12.50")
    minor = amount.scaleb(digits_of(currency))
    if minor != int(minor):
        raise ValueError(f"{currency} has {digits_of(currency)} decimals")
    return int(minor)


def digits_of(currency: str) -> int:
    """Decimals of a currency, by its ISO 4217 code."""
    return _DECIMALS.get(currency, 2)
