"""Near-duplicates: MinHash finds pairs that may be similar, their exact similarity decides, one of each pair stays."""
