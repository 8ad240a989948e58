"""Loops over the bytes of texts, compiled."""
