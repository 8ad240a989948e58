"""The vocabulary: trained on clean text, one for all languages of the mixture."""
