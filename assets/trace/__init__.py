"""The trace: from a step of a model to the documents it learned from, and back. Computed, not logged."""
