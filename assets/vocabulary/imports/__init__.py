"""Vocabularies of others: read from the files in which they are handed around, and checked before they are used."""

from assets.vocabulary.imports.importing import import_vocabulary

__all__ = ["import_vocabulary"]
