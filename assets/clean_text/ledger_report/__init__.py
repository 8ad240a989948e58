"""Reads ledgers: what cleaning did to dumps, rule by rule, with examples, and all about one document."""

from assets.clean_text.ledger_report.document import DocumentAccount, document_account
from assets.clean_text.ledger_report.effects import EditCount, RuleEffect
from assets.clean_text.ledger_report.examples import Example
from assets.clean_text.ledger_report.funnel import Funnel, Step
from assets.clean_text.ledger_report.report import LedgerReport, ledger_report
from assets.clean_text.ledger_report.stored import StoredDump, policy_of_run

__all__ = [
    "DocumentAccount",
    "EditCount",
    "Example",
    "Funnel",
    "LedgerReport",
    "RuleEffect",
    "Step",
    "StoredDump",
    "document_account",
    "ledger_report",
    "policy_of_run",
]
