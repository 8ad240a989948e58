"""Where a string occurs in the training data: suffix arrays over the text of token shards (Manber and Myers 1993).

A folder holds the index of one dump::

    text_index.json                 written last; a folder without it is incomplete
    text-00000.bin                  what the tokens of consecutive documents decode to, each document closed by 0xFF
    suffixes-00000.bin              positions in it, sorted by the text that begins there, little-endian uint32
    documents-00000.bin             where each document begins in it, and its size, little-endian uint32
    text-00001.bin, ...

The index is one of bytes, not of tokens: a phrase is found however it was cut into tokens. 0xFF occurs in no UTF-8, so
that no phrase reaches from one document into the next. Positions are those of the first bytes of characters: nobody
searches from the middle of one. A part holds whole documents of one split.
"""
