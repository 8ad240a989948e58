"""Raw text: readers that turn a source's files into documents."""
