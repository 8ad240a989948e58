"""The letters of languages that have encodings of their own, by which a reading of a text's bytes is judged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

SIGNS = frozenset("“”„‚‘’«»‹›–—…·•°§©®™£€¥¢½¼¾×÷±²³¹¶†‡ªº¿¡¬¤")
"""Punctuation and signs that a text in any Western encoding may hold."""

_CENTRAL_EUROPEAN = ("cp1250", "iso8859-2")
_CYRILLIC = ("cp1251", "koi8-r", "cp866", "iso8859-5")

# The most frequent letters first: of Cyrillic, Greek and Arabic encodings every byte is a letter in another as well.
_ALPHABETS: dict[str, tuple[tuple[str, ...], str]] = {
    "ar": (("cp1256", "iso8859-6"), "اليمنتروبهدعفسكقحجشصخطثذءأإآؤئغضظىزة،؛؟ًٌٍَُِّْـ"),
    "be": (_CYRILLIC, "аніеорстлдкувямпызьйгбчцхўжшюэфё"),
    "bg": (_CYRILLIC, "аоиетнрсвлкдпмзябугъчцжшщхйюфь"),
    "bs": (_CENTRAL_EUROPEAN, "čćđšž"),
    "cs": (_CENTRAL_EUROPEAN, "áčďéěíňóřšťúůýž"),
    "el": (("cp1253", "iso8859-7"), "αοιετσνηυρπκμλςωδγθχφβζξψάέήίόύώϊϋΐΰ"),
    "fa": (("cp1256",), "اليمنتروبهدعفسكقحجشصخطثذءأإآؤئغضظىزةکپچژگ،؛؟ًٌٍَُِّْـ"),
    "he": (("cp1255",), "אבגדהוזחטיכךלמםנןסעפףצץקרשתװױײ" + "".join(map(chr, range(0x5B0, 0x5C3)))),
    "hr": (_CENTRAL_EUROPEAN, "čćđšž"),
    "hu": (_CENTRAL_EUROPEAN, "áéíóöőúüű"),
    "lt": (("cp1257",), "ąčęėįšųūž"),
    "lv": (("cp1257",), "āčēģīķļņšūž"),
    "mk": (_CYRILLIC, "аоиетнрсвлкдпмзјбугчцжшхќѓљњџѕф"),
    "pl": (_CENTRAL_EUROPEAN, "ąćęłńóśźż"),
    "ro": (_CENTRAL_EUROPEAN, "ăâîşţ"),
    "ru": (_CYRILLIC, "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"),
    "sk": (_CENTRAL_EUROPEAN, "áčéíľšťúýžäďĺňóôŕ"),
    "sl": (_CENTRAL_EUROPEAN, "čšž"),
    "sr": (_CYRILLIC, "аоиетнрсвлкдпмзјбугчцжшхћђљњџф"),
    "th": (("cp874",), "".join(map(chr, [*range(0xE01, 0xE3B), *range(0xE3F, 0xE5C)]))),
    "tr": (("cp1254",), "çğıİöşüâîû"),
    "uk": (("cp1251", "koi8-u", "cp866", "iso8859-5"), "оаниеітрвсклдупмяьзбгйчхїцжюшєщфґ"),
}
_FREQUENT = 15
_FIRST_AFTER_LATIN = "\u0370"


@dataclass(frozen=True)
class Alphabet:
    """How a language is written.

    Attributes:
        codecs: Its encodings that have a byte for each letter, the likeliest first.
        letters: Those that are not ASCII, small and capital.
        frequent: The most frequent of them.
        latin: Whether they stand among ASCII letters.
    """

    codecs: tuple[str, ...]
    letters: frozenset[str]
    frequent: frozenset[str]
    latin: bool


@cache
def alphabet(language: str | None) -> Alphabet | None:
    """What is known of a language, by its code; None if its texts are in no encoding that needs to be told."""
    entry = _ALPHABETS.get((language or "").partition("-")[0])
    if entry is None:
        return None
    codecs, letters = entry
    frequent = letters[:_FREQUENT]
    return Alphabet(
        codecs,
        frozenset(letters + letters.upper()),
        frozenset(frequent + frequent.upper()),
        latin=letters[0] < _FIRST_AFTER_LATIN,
    )


FREQUENT_HANGUL = frozenset(
    "이다는에의가을고지하한로은기사어리자도를서인아스시나대그해있일정수들라으게니전주부보원장공제과상여만구세년우안오모"
    "성국트동적면무조유비연했습요마러선신치경미분내중거말방것없었았등야관두화위생학당바저계소때려드와개"
)
"""Syllables that are two thirds of a Korean text, and hardly a twentieth of Chinese that is read as Korean."""
