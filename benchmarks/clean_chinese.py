"""FineWeb-2's rules for Chinese, against datatrove's filters with FineWeb-2's configuration.

python -m benchmarks.clean_chinese --input PATH --json FILE

Needs the extra [bench]. The language's score is left out on both sides: the peer's model has to be downloaded.
"""

from __future__ import annotations

from assets.clean_text.policy import load_policy
from assets.clean_text.stop_words import STOP_WORDS
from benchmarks.verdicts import Comparison, run

TARGET = 15.0


def comparison() -> Comparison:
    """Both sides, with the numbers of configs/cmn_Hani.yml."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

    language = "cmn_Hani"
    filters = (
        GopherRepetitionFilter(
            language=language,
            dup_line_frac=0.287,
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            top_n_grams=((2, 0.256), (3, 0.201), (4, 0.171)),
            dup_n_grams=((5, 0.198), (6, 0.182), (7, 0.167), (8, 0.154), (9, 0.14), (10, 0.127)),
        ),
        FineWebQualityFilter(
            language=language,
            short_line_thr=999,
            char_duplicates_ratio=0.1,
            line_punct_thr=0.106,
            new_line_ratio=0.178,
        ),
        GopherQualityFilter(
            language=language,
            min_avg_word_length=1,
            max_avg_word_length=5,
            max_non_alpha_words_ratio=0.735,
            stop_words=list(STOP_WORDS["zh"]),
            min_stop_words=2,
        ),
    )

    def reason(text: str) -> str | None:
        document = Document(text=text, id="")
        for each in filters:
            verdict = each.filter(document)
            if verdict is not True:
                return verdict[1] if isinstance(verdict, tuple) else "dropped"
        return None

    policy = load_policy("fineweb2-zh")
    rules = [rule for rule in policy.rules if rule.name != "language"]
    return Comparison("zh", policy.model_copy(update={"rules": rules}), reason, TARGET)


if __name__ == "__main__":
    run(comparison, __doc__ or "")
