"""How personal data is written: e-mail addresses, telephone numbers, identity and bank cards, IP addresses.

Patterns read text in which full-width forms and typographic hyphens were folded to ASCII (``masking.fold``). None has
an unbounded repetition inside another, and none may begin inside a run of what it is made of, so the time for a text is
linear in its length. Where a number has a check digit, it decides; where it has none, a number needs a shape that
years, prices, ISBNs and versions do not have, or a word such as "Tel" or "手机" in front of it.
"""

from __future__ import annotations

import ipaddress
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import regex

Span = tuple[int, int]


def whole(match: regex.Match[str]) -> Span | None:
    """All of what the pattern found."""
    return match.span()


@dataclass(frozen=True)
class Form:
    """One way in which something is written.

    Attributes:
        pattern: Finds candidates.
        check: The characters of a candidate to mask, from and to; None if it is something else.
    """

    pattern: regex.Pattern[str]
    check: Callable[[regex.Match[str]], Span | None] = whole


_BEGIN = r"(?<!\w)(?<!\d[.\-])(?<![$¥￥€£] ?)(?<![A-Za-z]/)(?<!\w=)"
_END = r"(?!\w)(?![.\-]\d)(?! ?(?:[元万亿円]|bytes))"
_GAP = r"[^\n\d<>@A-Za-z]{0,8}"  # Between a word that announces a number and the number; no placeholder fits in.
_PHONE_WORD = (
    r"(?:(?<![\w<])(?i:(?:tel|telephone|phone|mobile|cell|cellphone|fax|whatsapp)(?![a-z])\.?(?: (?:number|no|is))?)"
    # Of telephones as goods and of their bills other numbers are told.
    r"|电话(?!费)|電話(?!費)|手[机機](?=[号號是为為]|[^一-鿿])|传真|傳真|热线|熱線|致电|致電)"
)
_DIGITS = r"\d(?:[ .\-()/]{0,2}\d)"


def _compile(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.ASCII)


def _email(match: regex.Match[str]) -> Span | None:
    """The account before the sign, and the domain behind it."""
    before = match.string[max(match.start() - _LONGEST_ACCOUNT, 0) : match.start()]
    account = before[len(before.rstrip(_ACCOUNT_CHARACTERS)) :].lstrip(".%+-")
    return (match.start() - len(account), match.end()) if account else None


_LONGEST_ACCOUNT = 64  # RFC 5321, section 4.5.3.1.1
_ACCOUNT_CHARACTERS = string.ascii_letters + string.digits + "_.%+-"


def _phone_number(match: regex.Match[str]) -> Span | None:
    """The number behind a word that announces one, if it is no date, span of years or ISBN."""
    return None if _DATE.match(match[1]) or _ISBN.fullmatch(match[1]) else match.span(1)


_DATE = _compile(
    r"(?:(?:1[5-9]|20)?\d\d[.\-/](?:0?[1-9]|1[0-2])[.\-/](?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?:1[5-9]|20)\d\d(?:[ .\-/](?:0?[1-9]|1[0-2])[ .\-/]|[ .\-/]{1,2}(?:1[5-9]|20)\d\d(?!\d)))"
)
_ISBN = _compile(r"97[89][ \-]?\d(?:[ \-]?\d){9}")


def _identity_card(match: regex.Match[str]) -> Span | None:
    """A number of GB 11643-1999 with a province, a date and the check character of ISO 7064 MOD 11-2."""
    digits = match[0].upper().replace(" ", "").replace("-", "")
    total = sum(weight * int(digit) for weight, digit in zip(_IDENTITY_WEIGHTS, digits[:17], strict=True))
    valid = digits[:2] in _PROVINCES and _is_date(digits[6:14]) and digits[17] == "10X98765432"[total % 11]
    return match.span() if valid else None


def _old_identity_card(match: regex.Match[str]) -> Span | None:
    """Fifteen digits, two for the year: no check character, so the words in front must announce one."""
    digits = match[1]
    return match.span(1) if digits[:2] in _PROVINCES and _is_date("19" + digits[6:12]) else None


_IDENTITY_WEIGHTS = tuple(pow(2, 17 - position, 11) for position in range(17))
# GB/T 2260; 81 to 83 are residence permits for people of Hong Kong, Macao and Taiwan, 91 for foreigners.
_PROVINCES = frozenset(
    str(code)
    for first, last in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83), (91, 91))
    for code in range(first, last + 1)
)


def _is_date(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return False
    return digits[:2] in ("18", "19", "20")


def _bank_card(match: regex.Match[str]) -> Span | None:
    """A number with an issuer's prefix, its length and the check digit of ISO/IEC 7812 (Luhn).

    A last group of up to three digits may belong to it or not.
    """
    if _DIGIT_BEFORE.search(match.string, max(match.start() - 2, 0), match.start()):
        return None
    for end in dict.fromkeys((match.end(), match.end("four"))):
        digits = match.string[match.start() : end].replace(" ", "").replace("-", "") if end > 0 else ""
        if _ISSUED.fullmatch(digits) and passes_luhn(digits):
            return match.start(), end
    return None


_DIGIT_BEFORE = _compile(r"\d[.\-]$")
# Visa, Mastercard, American Express, Discover, JCB, Diners Club, UnionPay, Maestro, and ICBC's own 9558.
_ISSUED = _compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12,15}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|62\d{14,17}|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{12,15}|9558\d{12,15}"
)


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812, annex B."""
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)) % 10 == 0


def _public_address(match: regex.Match[str]) -> Span | None:
    """An address that is routed on the Internet."""
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return None
    is_section = address.version == 4 and max(address.packed) < _LEAST_OF_ADDRESS
    return match.span() if address.is_global and not is_section else None


# Four numbers below it are the number of a section or version; of all addresses, one in 4096 is such.
_LEAST_OF_ADDRESS = 32


EMAIL = (
    Form(
        _compile(
            r"@(?!\dx\.)"  # logo@2x.png is a picture for dense screens
            r"(?:[A-Za-z0-9][A-Za-z0-9\-]{0,62}\.){1,5}[A-Za-z]{2,24}(?![A-Za-z0-9])"
        ),
        _email,
    ),
)
"""Addresses with an ASCII domain below a top-level one; of an account's name, the last 64 characters."""

PHONE = (
    # Chinese mobile numbers, by the prefixes in use.
    Form(
        _compile(
            _BEGIN + r"(?:\(?(?:\+|00)?86\)?[ \-]?)?1(?:3\d|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])([ \-]?)"
            r"\d{4}\1\d{4}" + _END
        )
    ),
    # Chinese landlines with area code and perhaps an extension.
    Form(
        _compile(
            _BEGIN + r"(?:\(0(?:10|2\d|[3-9]\d\d)\)[ \-]?|0(?:10|2\d)[ \-]?|0[3-9]\d\d[ \-])"
            r"[2-9]\d{2,3}[ \-]?\d{4}(?:(?:-|转|轉| ?ext\.? ?)\d{1,5})?" + _END
        )
    ),
    # E.164 with its plus sign.
    Form(_compile(r"(?<![\w+])\+(?=[1-9])" + _DIGITS + r"{7,14}" + _END)),
    # North America, with separators.
    Form(
        _compile(
            # Pages and a year, as in "pp. 212-255 1984", are none.
            _BEGIN + r"(?:1[ .\-])?(?:\([2-9]\d\d\)[ .\-]?|[2-9]\d\d[.\-])[2-9]\d\d(?! (?:1[89]|20)\d\d)[ .\-]\d{4}"
            r"(?: ?(?:x|ext\.?) ?\d{1,5})?" + _END
        )
    ),
    # Chinese service numbers.
    Form(_compile(_BEGIN + r"[48]00-\d{3}-?\d{4}" + _END)),
    # A trunk zero and groups: Britain, Germany and others.
    Form(_compile(_BEGIN + r"0\d{2,4}[ \-/]\d{3,4}[ \-]?\d{3,4}" + _END)),
    # Five pairs with one sign between them, as in France; six and more are a list, several signs a date and a time.
    Form(_compile(_BEGIN + r"(?<!(?:^|\s)\d\d )0[1-9]([ .\-])\d\d(?:\1\d\d){3}(?! \d\d(?:\s|$))" + _END)),
    # Whatever a word announces.
    Form(_compile(_PHONE_WORD + _GAP + r"(\(?" + _DIGITS + r"{6,14})" + _END), _phone_number),
)
"""Numbers of 7 to 15 digits."""

IDENTITY_CARD = (
    Form(_compile(r"(?<!\w)[1-9]\d{5}([ \-]?)(?:18|19|20)\d{6}\1\d{3}[\dXx](?!\w)"), _identity_card),
    Form(
        _compile(r"(?:身份证|身份證|(?i:id card))(?:号码|號碼|号|號)?" + _GAP + r"(\d{15})(?!\w)"), _old_identity_card
    ),
)
"""Chinese identity cards: 18 characters with a check character, or 15 digits behind the words "身份证" or "ID card"."""

BANK_CARD = (
    Form(
        _compile(
            r"(?<!\w)(?:(?P<four>\d{4}([ \-])\d{4}\2\d{4}\2\d{4})(?:\2\d{1,3})?"
            r"|\d{4}([ \-])\d{6}\3\d{4,5}|\d{6}[ \-]\d{13}|\d{13,19})"
            r"(?!\w)(?!-\d)"
        ),
        _bank_card,
    ),
)
"""Card numbers of 13 to 19 digits, in one piece or in the groups in which they are embossed."""

IP_ADDRESS = (
    Form(
        _compile(
            r"(?<![\w.\-])(?<!(?i:version|ver\.?|版本) ?)(?:\d{1,3}\.){3}\d{1,3}(?![\w\-])(?!\.\d)",
        ),
        _public_address,
    ),
    Form(_compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?<![^:]:)(?![\w:])"), _public_address),
)
"""Public addresses: of version 4 with a number of 32 or more, of version 6 in 2000::/3, all that is given out."""
