"""Token shards: clean documents encoded with the vocabulary, split into training and validation."""
