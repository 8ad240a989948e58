"""How the loops that take many arrays are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without counting references: arrays are not made here, and calls between such functions cost nothing.

    With it, each call would count every array argument up and down; cutting words took five times as long.
    """
    loop: Callable[..., Any] = numba.njit(cache=True, nogil=True, _nrt=False)(function)  # type: ignore[call-overload]
    return loop


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, written into each compiled loop that calls it: for what is short and called for each word."""
    loop: Callable[..., Any] = numba.njit(cache=True, nogil=True, _nrt=False, inline="always")(function)  # type: ignore[call-overload]
    return loop
