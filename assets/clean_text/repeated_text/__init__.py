"""Text that stands in several documents: lines, paragraphs and passages, found by stored hashes and cut."""
