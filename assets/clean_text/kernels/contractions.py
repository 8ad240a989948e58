"""English chunks that are cut otherwise than by their marks: contractions, abbreviations, clock times.

The facts of spaCy's English tokenizer, which datatrove counts words by: "don't" is do + n't, "I'm" is I + 'm, "cannot"
is can + not, "Mr." and "e.g." are one piece each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from assets.clean_text.kernels.pieces import Special, special_table

_PRONOUNS = ("i", "you", "he", "she", "it", "we", "they")
_TAILS = {
    **dict.fromkeys(("who", "what", "when", "where", "why", "how", "there"), ("s", "ll", "d", "re", "ve")),
    **dict.fromkeys(("that", "this"), ("s", "ll", "d")),
    **dict.fromkeys(("these", "those"), ("ll", "d", "re", "ve")),
}
_NEGATED_ALONE = tuple("ca could do does did had may might must need ought sha should wo would".split())
_NEGATED = ("ai", "are", "is", "was", "were", "have", "has", "dare")
_HAVING = ("could", "might", "must", "should", "would")
_APOSTROPHES = ("'", "’")
# Written without their apostrophe they are words of their own.
_WORDS = {"ill", "its", "hell", "shell", "shed", "were", "well", "whore"}
_WHOLE = (
    "and/or w/o 'bout 'd 'em 'll 'nuff 're 's 'S ‘s ‘S ma'am C++ c++ a.m. p.m. e.g. i.e. vs. v.s. "
    "Mr. Mrs. Ms. Dr. Prof. Rev. Sen. Rep. Gov. Gen. Adm. St. Jr. Inc. Ltd. Co. co. Corp. Bros. Messrs. "
    "Mt. Md. Mo. Mont. Ph.D. D.C. N.C. N.D. N.H. N.J. N.M. N.Y. S.C. E.g. E.G. I.e. I.E. "
    "Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. "
    "Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. Sep. Sept. Tenn. Va. "
    "Wash. Wis."
)
_WHOLE_OR_CAPITAL = "'cause 'cos 'coz 'cuz o'clock doin' goin' havin' lovin' nothin' nuthin' ol' somethin'"
_CUT = ("can|not", "gon|na", "got|ta", "let|'s", "let|’s", "c'm|on", "c’m|on")
_SMILEYS = (
    "'' :) :)) :))) :-) :-)) :-))) :( :(( :((( :-( :-(( :-((( :() ;) ;-) ;D ;-D :D :-D :P :-P :p :-p :/ :-/ :') :'-) "
    ":'( :'-( :o :O :-o :-O :0 :-0 :o) :| :-| :* :-* :] :-] :} :-} :> :-> :3 :-3 :x :-x :X :-X :1 =) =( =D =| =/ =3 =] "
    "=[ (= [= ]= (: (-: (o: (; (-; ): )-: [: [-: 8) 8-) 8-D (-8 xD XD <3 <33 <333 </3 >:( >:o ><(((*> <.< >.> >.< "
    "^_^ ^__^ -_- -__- o.o o.O o_o O.O O_O 0.0 0_0 v.v V_V T_T ._. ;_; (._.) (-_-) (*_*) (>_<) (^_^) (¬_¬) (ಠ_ಠ) "
    '¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ \\") \\n \\t <space>'
)


@lru_cache(maxsize=1)
def english() -> Special:
    """The table of English chunks for ``pieces.cut``."""
    return special_table({"".join(parts): parts for parts in _english()})


@lru_cache(maxsize=1)
def universal() -> Special:
    """The table of chunks of any language that are one piece: single letters with a full stop, smileys."""
    return special_table({"".join(parts): parts for parts in _any_language()})


def _english() -> Iterator[tuple[str, ...]]:
    whole = [*_WHOLE.split(), *_WHOLE_OR_CAPITAL.split(), *map(_capital, _WHOLE_OR_CAPITAL.split())]
    for parts in (*_any_language(), *((chunk,) for chunk in whole)):
        yield parts
        yield tuple(part.replace("'", "’") for part in parts)
    for parts in (*(tuple(cut.split("|")) for cut in _CUT), *_contractions()):
        if "".join(parts) in _WORDS:
            continue
        yield parts
        if "".join(parts).capitalize() not in {word.capitalize() for word in _WORDS}:
            yield (parts[0].capitalize(), *parts[1:])
    for mark in (*_APOSTROPHES, ""):
        yield (f"y{mark}", "all")
    for hour, half in product(range(1, 13), ("a.m.", "am", "p.m.", "pm")):
        yield (str(hour), half)


def _contractions() -> Iterator[tuple[str, ...]]:
    for mark in (*_APOSTROPHES, ""):
        for pronoun in _PRONOUNS:
            for tail in ("ll", "d"):
                yield (pronoun, mark + tail)
                yield (pronoun, mark + tail, mark + "ve")
        yield ("i", mark + "m")
        yield ("i", mark + "m", "a")
        yield ("not", mark + "ve")
        if mark:
            yield ("how", mark + "d", mark + "y")
        for pronoun in ("i", "you", "we", "they"):
            yield (pronoun, mark + "ve")
        for pronoun in ("you", "we", "they"):
            yield (pronoun, mark + "re")
        for pronoun in ("he", "she", "it"):
            yield (pronoun, mark + "s")
        for word, tails in _TAILS.items():
            for tail in tails:
                yield (word, mark + tail)
            yield (word, mark + "ll", mark + "ve")
            yield (word, mark + "d", mark + "ve")
        for verb in _NEGATED_ALONE:
            yield (verb, f"n{mark}t")
            yield (verb, f"n{mark}t", mark + "ve")
        for verb in _NEGATED:
            yield (verb, f"n{mark}t")
        for verb in _HAVING:
            yield (verb, mark + "ve")


def _capital(chunk: str) -> str:
    """The chunk with its first letter, which may stand behind an apostrophe, as a capital."""
    return chunk[0] + chunk[1:].capitalize() if chunk[0] in _APOSTROPHES else chunk.capitalize()


def _any_language() -> Iterator[tuple[str, ...]]:
    for letter in "abcdefghijklmnopqrstuvwxyzäöü":
        yield (letter + ".",)
    for scale in "CFKcfk":
        yield ("°", scale, ".")
    for chunk in _SMILEYS.split():
        yield (chunk,)
