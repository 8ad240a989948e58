"""Gopher's, C4's and FineWeb's rules on English text, against datatrove's filters chained.

python -m benchmarks.clean_text --input PATH --json FILE

Needs the extra [bench].
"""

from __future__ import annotations

from assets.clean_text.policy import Policy, load_policy
from benchmarks.verdicts import Comparison, run

TARGET = 30.0
PRESETS = ("gopher-repetition", "gopher-quality", "c4", "fineweb-quality")


def comparison() -> Comparison:
    """Both sides, in FineWeb's order."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    filters = (GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter())

    def reason(text: str) -> str | None:
        document = Document(text=text, id="")
        for each in filters:
            verdict = each.filter(document)
            if verdict is not True:
                return verdict[1] if isinstance(verdict, tuple) else "dropped"
        return None

    parts = [load_policy(name) for name in PRESETS]
    policy = Policy(
        name="gopher-c4-fineweb",
        lines=[rule for part in parts for rule in part.lines],
        rules=[rule for part in parts for rule in part.rules],
    )
    return Comparison("en", policy, reason, TARGET)


if __name__ == "__main__":
    run(comparison, __doc__ or "")
