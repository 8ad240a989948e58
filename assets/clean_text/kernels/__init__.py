"""Compiled loops over the UTF-8 bytes of Arrow texts: one pass, no Python object for a document or a word."""
