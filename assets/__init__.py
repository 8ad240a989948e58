"""What exists: one folder a stage, in the order the data flows."""
