"""Clean text: normalisation, rules, deduplication, and the ledger that accounts for every document."""
