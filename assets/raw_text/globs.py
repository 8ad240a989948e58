"""Globs over paths of members: ``*`` stays in a folder, ``**`` crosses folders, a leading ``/`` anchors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

WILDCARDS = re.compile(r"[*?\[]")
_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]")


def matches(path: str, globs: Sequence[str]) -> bool:
    """Whether one of the globs matches the path, or the end of it that begins after some ``/``."""
    return any(_compile(glob).fullmatch(path) for glob in globs)


@lru_cache(maxsize=1024)
def _compile(glob: str) -> re.Pattern[str]:
    anchored = glob.startswith("/")
    glob = glob.removeprefix("/")
    pattern = "" if anchored else "(?:.*/)?"
    position = 0
    for part in _PARTS.finditer(glob):
        pattern += re.escape(glob[position : part.start()]) + _translate(part.group())
        position = part.end()
    return re.compile(pattern + re.escape(glob[position:]), re.DOTALL)


def _translate(part: str) -> str:
    if part.startswith("["):
        negated = part.startswith("[!")
        body = part[2 if negated else 1 : -1].replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
        return f"[{'^/' if negated else ''}{body.replace('^', chr(92) + '^')}]"
    return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[part]
