"""The report of a vocabulary: how it cuts each source, beside others, and what its entries are."""

from assets.vocabulary.report.fertility import FERTILITY, FertilityRow
from assets.vocabulary.report.report import REPORT, VocabularyDetails, write_report

__all__ = ["FERTILITY", "REPORT", "FertilityRow", "VocabularyDetails", "write_report"]
