"""Builds a stored index in a process of its own, to be killed. Arguments: shards, vocabulary, bytes of a part."""

from __future__ import annotations

import sys
from pathlib import Path

from assets.text_index.settings import TextIndexSettings
from assets.text_index.stored import build_stored_index

if __name__ == "__main__":
    build_stored_index(
        Path(sys.argv[1]), Path(sys.argv[2]), settings=TextIndexSettings(part_bytes=int(sys.argv[3]), workers=1)
    )
