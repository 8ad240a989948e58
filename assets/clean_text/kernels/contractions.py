"""English chunks that are cut otherwise than by their marks: contractions, abbreviations, clock times.

The facts of spaCy's English tokenizer, which datatrove counts words by: "don't" is do + n't, "I'm" is I + 'm, "cannot"
is can + not, "Mr." and "e.g." are one piece each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.pieces import special_table

_PRONOUNS = ("i", "you", "he", "she", "it", "we", "they")
_QUESTIONS = ("who", "what", "when", "where", "why", "how", "there", "that")
_NEGATED_ALONE = tuple("ca could do does did had may might must need ought sha should wo would".split())
_NEGATED = ("ai", "are", "is", "was", "were", "have", "has", "dare")
_HAVING = ("could", "might", "must", "should", "would")
_APOSTROPHES = ("'", "’")
# Written without their apostrophe they are words of their own.
_WORDS = {"ill", "its", "hell", "shell", "shed", "were", "well", "whore"}
_WHOLE = (
    "and/or w/o 'cause 'cos 'coz 'cuz 'bout ma'am o'clock lovin' havin' doin' goin' nothin' nuthin' ol' somethin' 'em "
    "'ll 'nuff '' C++ c++ a.m. p.m. e.g. i.e. vs. v.s. 'd "
    "Mr. Mrs. Ms. Dr. Prof. Rev. Sen. Rep. Gov. Gen. Adm. St. Jr. Inc. Ltd. Co. co. Corp. Bros. Messrs. "
    "Mt. Md. Mo. Mont. Ph.D. D.C. N.C. N.D. N.H. N.J. N.M. N.Y. S.C. E.g. E.G. I.e. I.E. "
    "Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. "
    "Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. Sep. Sept. Tenn. Va. "
    "Wash. Wis."
)
_CUT = ("can|not", "gon|na", "got|ta", "let|'s", "let|’s", "c'm|on", "c’m|on")
_SMILEYS = (
    ":) :-) :)) :( :-( :(( ;) ;-) :D :-D :P :-P :p :-p :/ :-/ :'( :o :O :-o :-O :| :-| :* :-* =) =( =D =| xD XD 8) 8-) "
    "<3 <33 <333 ^_^ ^__^ -_- -__- o.o o_o O.O O_O v.v V_V >.< ._. ;_; (: (; ): :] :[ =] [: :3 :x :X :> :1 0_0 0.0 T_T "
    "(= [= ¯\\(ツ)/¯ (ツ) (._.) (-_-) (*_*) (>_<) \\n \\t"
)


@lru_cache(maxsize=1)
def english() -> tuple[Array, Array]:
    """The table of English chunks for ``pieces.cut``."""
    return special_table({"".join(parts): parts for parts in _english()})


@lru_cache(maxsize=1)
def universal() -> tuple[Array, Array]:
    """The table of chunks of any language that are one piece: single letters with a full stop, smileys."""
    return special_table({chunk: (chunk,) for chunk in _any_language()})


def _english() -> Iterator[tuple[str, ...]]:
    for chunk in _any_language():
        yield (chunk,)
    for chunk in _WHOLE.split():
        yield (chunk,)
        if chunk.startswith(("'", "o'", "ma'")) or chunk.endswith("n'"):
            yield (chunk.replace("'", "’"),)
            yield (chunk[0].upper() + chunk[1:],)
    for parts in (*(tuple(cut.split("|")) for cut in _CUT), *_contractions()):
        if "".join(parts) in _WORDS:
            continue
        yield parts
        if "".join(parts).capitalize() not in {word.capitalize() for word in _WORDS}:
            yield (parts[0].capitalize(), *parts[1:])
    for hour, half in product(range(1, 13), ("a.m.", "am", "p.m.", "pm")):
        yield (str(hour), half)


def _contractions() -> Iterator[tuple[str, ...]]:
    for mark in (*_APOSTROPHES, ""):
        for pronoun in _PRONOUNS:
            for tail in ("ll", "d"):
                yield (pronoun, mark + tail)
                yield (pronoun, mark + tail, mark + "ve")
        yield ("i", mark + "m")
        yield ("i", mark + "ma")
        for pronoun in ("i", "you", "we", "they"):
            yield (pronoun, mark + "ve")
        for pronoun in ("you", "we", "they"):
            yield (pronoun, mark + "re")
        for pronoun in ("he", "she", "it"):
            yield (pronoun, mark + "s")
        for question in _QUESTIONS:
            for tail in ("s", "ll", "d", "re", "ve"):
                if mark or tail not in ("d", "s") or question not in ("that",):
                    yield (question, mark + tail)
            yield (question, mark + "ll", mark + "ve")
            yield (question, mark + "d", mark + "ve")
        for verb in _NEGATED_ALONE:
            yield (verb, f"n{mark}t")
            yield (verb, f"n{mark}t", mark + "ve")
        for verb in _NEGATED:
            yield (verb, f"n{mark}t")
        for verb in _HAVING:
            yield (verb, mark + "ve")


def _any_language() -> Iterator[str]:
    for letter in "abcdefghijklmnopqrstuvwxyzäöü":
        yield letter + "."
    yield from _SMILEYS.split()
