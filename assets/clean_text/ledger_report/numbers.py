"""How numbers and places are written for people."""

from __future__ import annotations

from assets.clean_text.ledger_report.examples import Example

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(length: int) -> str:
    """Bytes in the largest unit of which there is one; 1 kB is 1,000 bytes."""
    value, unit = float(length), 0
    while value >= 999.5 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    return (
        f"{length} B" if not unit else f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {_UNITS[unit]}"
    )


def share(count: int, total: int) -> str:
    """Per cent of a total; what is there but tiny does not look like nothing."""
    if not total:
        return "-"
    per_cent = 100 * count / total
    return "< 0.01%" if 0 < per_cent < 0.01 else f"{per_cent:.{2 if per_cent < 1 else 1}f}%"


def measure(value: float, threshold: float | None) -> str:
    """A measured value and its limit."""
    return f"{value:.4g}" if threshold is None else f"{value:.4g} (limit {threshold:.4g})"


def reason(example: Example) -> str:
    """Why a document is an example: what was measured, what else it fails, what it is a copy of."""
    parts = []
    if example.duplicate_of:
        alike = "" if example.value is None else f", similarity {example.value:.4g}"
        parts.append(f"copy of {example.duplicate_of}{alike}")
    elif example.value is not None:
        named = f"{example.signal} " if example.signal else ""
        parts.append(named + measure(example.value, example.threshold))
    if example.others:
        parts.append(f"also {', '.join(example.others)}")
    return "; ".join(parts)


def place(example: Example) -> str:
    """Where a document lies: source, language, file, bytes."""
    return f"{example.source or example.dump}, {example.language or '?'}, {example.path}{_bytes(example)}"


def _bytes(example: Example) -> str:
    if example.byte_start is None:
        return ""
    return f":{example.byte_start}" + ("" if example.byte_end is None else f"-{example.byte_end}")
