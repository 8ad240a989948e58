"""Licences: one name for each, families of them, and which documents a policy may use.

Names are SPDX identifiers in lower case (``cc-by-4.0``, ``mit``), with ``public-domain`` for what SPDX has no name for.
A family says what the licence asks of someone who makes something of the text:

- ``permissive``: nothing, or to name the author;
- ``share-alike``: the same licence for what is made of it;
- ``non-commercial``: no commercial use, whatever else it asks;
- ``no-derivatives``: that nothing is made of it, whatever else it asks;
- ``unknown``: no licence is given, or none that is known here. That is no permission.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import regex

from assets.clean_text.arrays import string_array, strings
from training.settings import nearest

PERMISSIVE = "permissive"
SHARE_ALIKE = "share-alike"
NON_COMMERCIAL = "non-commercial"
NO_DERIVATIVES = "no-derivatives"
UNKNOWN = "unknown"

FAMILIES = (PERMISSIVE, SHARE_ALIKE, NON_COMMERCIAL, NO_DERIVATIVES, UNKNOWN)

_BY_FAMILY = {
    PERMISSIVE: """
        public-domain cc0-1.0 pddl-1.0 unlicense wtfpl 0bsd mit mit-0 isc zlib bsl-1.0 bsd-2-clause bsd-3-clause
        apache-1.1 apache-2.0 postgresql psf-2.0 python-2.0 ogl-uk-3.0 odc-by-1.0 cdla-permissive-1.0
        cdla-permissive-2.0 ecl-2.0 etalab-2.0 dl-de-by-2.0 mulanpsl-1.0 mulanpsl-2.0
    """,
    SHARE_ALIKE: """
        gpl-2.0 gpl-3.0 lgpl-2.1 lgpl-3.0 agpl-3.0 mpl-2.0 epl-1.0 epl-2.0 eupl-1.2 cddl-1.0 gfdl-1.1 gfdl-1.2 gfdl-1.3
        odbl-1.0 cdla-sharing-1.0
    """,
}

LICENCES: Mapping[str, str] = MappingProxyType(
    {name: family for family, names in _BY_FAMILY.items() for name in names.split()}
)
"""Family of each known licence but those of Creative Commons, whose names say what they ask."""

# Without anything but letters and digits, and without the words of _NOISE.
_OTHER_NAMES = {
    "public-domain": "publicdomain publicdomainmark publicdomainmark10 pd pdm ccpdm ccpublicdomain 公有领域 公有領域",
    "cc0-1.0": "cc0 cczero zero10 zero ccorgpublicdomainzero10 cc010universal cczero10universal cc0universal",
    "mit": "expat mitexpat",
    "apache-2.0": "apache apache2 asl20 apachesoftware apachesoftware20",
    "bsd-2-clause": "bsd2 simplifiedbsd freebsd",
    "bsd-3-clause": "bsd bsd3 newbsd modifiedbsd revisedbsd",
    "gpl-2.0": "gpl2 generalpublic2 generalpublic20",
    "gpl-3.0": "gpl3 generalpublic3 generalpublic30",
    "lgpl-2.1": "lessergeneralpublic21",
    "lgpl-3.0": "lgpl3 lessergeneralpublic3 lessergeneralpublic30",
    "agpl-3.0": "agpl agpl3 afferogeneralpublic3 afferogeneralpublic30",
    "mpl-2.0": "mpl mpl2 mozillapublic mozillapublic20",
    "gfdl-1.3": "gfdl freedocumentation freedocumentation13",
    "odbl-1.0": "odbl opendatabase odcodbl",
    "odc-by-1.0": "odcby",
    "pddl-1.0": "pddl odcpddl",
    "ogl-uk-3.0": "ogl ogl3 ogl30 ogluk opengovernment opengovernment30",
    "mulanpsl-2.0": "mulanpsl mulanpsl2 木兰宽松许可证2",
}
_NOISE = regex.compile(
    r"^https?(?:www)?|the|under|licen[cs]e[ds]?|agreement|gnu|version|(?:only|orlater)$|v(?=\d)|许可协议|許可協議|授权条款|授權條款"
)
_NAMES = {
    regex.sub(r"\W", "", name): identifier
    for identifier in LICENCES
    for name in (identifier, *_OTHER_NAMES.get(identifier, "").split())
}

_CREATIVE_COMMONS = regex.compile(
    r"(?P<maker>cc(?:org)?)?(?P<by>by|attribution|署名|姓名标示|姓名標示)(?P<elements>"
    r"(?:nc|noncommercial|非商业性?(?:使用)?|非商業性?(?:使用)?|nd|noderiv(?:ative)?s?(?:works)?|禁止演绎|禁止演繹|禁止改作"
    r"|sa|sharealike|相同方式共享|相同方式分享)*)(?:(?P<major>[1-4])(?P<minor>[05])?)?"
    r"(?:international|unported|generic|国际|國際|deed[a-z]*|legalcode[a-z]*|(?!nc|nd|sa)[a-z]{2})?"  # or a country
)
_CC_IDENTIFIER = regex.compile(r"cc-by(?:-nc)?(?:-nd)?(?:-sa)?(?:-[1-4]\.[05])?")
_ELEMENTS = (("nc", "nc|noncommercial|非商"), ("nd", "nd|noderiv|禁止"), ("sa", "sa|sharealike|相同"))


def normal_licence(name: str) -> str:
    """The name of a licence as this module has it, of a name as people write it, or of its URL.

    A Creative Commons licence that comes without its version stays without (``cc-by``). What is not known comes back in
    lower case with hyphens for white space; nothing at all is ``unknown``.
    """
    compact = _NOISE.sub("", regex.sub(r"[\W_]+", "", name.lower()))
    compact = regex.sub("creativecommons|知识共享|知識共享|创用cc|創用cc", "cc", compact)
    if identifier := _NAMES.get(compact):
        return identifier
    match = _CREATIVE_COMMONS.fullmatch(compact)
    if match and (match["maker"] or match["major"] or match["by"] != "by"):
        elements = [short for short, pattern in _ELEMENTS if regex.search(pattern, match["elements"])]
        version = [f"{match['major']}.{match['minor'] or 0}"] if match["major"] else []
        return "-".join(["cc", "by", *elements, *version])
    return "-".join(name.lower().split()) or UNKNOWN


def licence_family(name: str) -> str:
    """The family of a licence, by any of its names."""
    identifier = normal_licence(name)
    if _CC_IDENTIFIER.fullmatch(identifier):
        parts = identifier.split("-")
        asked = (("nd", NO_DERIVATIVES), ("nc", NON_COMMERCIAL), ("sa", SHARE_ALIKE), ("by", PERMISSIVE))
        return next(family for element, family in asked if element in parts)
    return LICENCES.get(identifier, UNKNOWN)


def normal_licences(licences: pa.StringArray) -> pa.StringArray:
    """``normal_licence`` of each; null is ``unknown``."""
    return _by_name(licences, {name: normal_licence(name) for name in _different(licences)})


def licence_families(licences: pa.StringArray) -> pa.StringArray:
    """``licence_family`` of each; null is ``unknown``."""
    return _by_name(licences, {name: licence_family(name) for name in _different(licences)})


def licence_allowed(licences: pa.StringArray, allowed: Collection[str]) -> pa.BooleanArray:
    """Which documents a policy may use.

    Args:
        licences: (n,), as the sources name them; null where nothing is known.
        allowed: Families, or licences by any of their names. A Creative Commons licence without a version allows
            all its versions.

    Raises:
        ValueError: If an entry is neither; the message has the nearest.
    """
    check_allowed(allowed)
    families = {entry for entry in allowed if entry in FAMILIES}
    names = {normal_licence(entry) for entry in allowed if entry not in FAMILIES}
    good = [
        name
        for name in _different(licences)
        if licence_family(name) in families or not names.isdisjoint(_with_and_without_version(normal_licence(name)))
    ]
    permitted: Any = pc.is_in(licences, string_array(good))
    return cast("pa.BooleanArray", pc.or_(permitted, pc.and_(licences.is_null(), pa.scalar(UNKNOWN in families))))


def check_allowed(allowed: Collection[str]) -> None:
    """Refuse what is neither a family nor a licence known here.

    Raises:
        ValueError: The message has the nearest.
    """
    for entry in allowed:
        if entry not in FAMILIES and licence_family(entry) == UNKNOWN:
            raise ValueError(f"unknown licence or family '{entry}', {nearest(entry.lower(), [*FAMILIES, *LICENCES])}")


def _with_and_without_version(identifier: str) -> tuple[str, str]:
    return identifier, regex.sub(r"^(cc-by.*)-\d\.\d$", r"\1", identifier)


def _different(licences: pa.StringArray) -> list[str]:
    different: Any = licences.drop_null().unique()
    return strings(different)


def _by_name(licences: pa.StringArray, results: Mapping[str, str]) -> pa.StringArray:
    encoded: Any = licences.dictionary_encode()
    values: Any = string_array([results[name] for name in strings(encoded.dictionary)])
    return cast("pa.StringArray", values.take(encoded.indices).fill_null(UNKNOWN))
