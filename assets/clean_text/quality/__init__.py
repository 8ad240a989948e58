"""Models that score documents: how much one is like good text (quality), how expected it is (perplexity)."""
