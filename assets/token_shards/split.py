"""Which documents are for validation: decided by their content, so that copies are always on the same side."""

from __future__ import annotations

import hashlib

from training.shards import SplitName

_SCALE = 1 << 64


def split_of(signature: str, *, validation_share: float, seed: int) -> SplitName:
    """The split of a document.

    Args:
        signature: Signature of its text (``assets.clean_text.signatures``): the same for texts that differ only in
            case, width, spacing and punctuation, in whichever dump they are.
        validation_share: Share of signatures that go to validation.
        seed: Another seed, another choice.
    """
    digest = hashlib.blake2b(f"{seed}\0{signature}".encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest, "little") < validation_share * _SCALE else "train"
