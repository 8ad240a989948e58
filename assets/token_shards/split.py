"""Which documents are for validation: decided by their content, so that copies are always on the same side."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.clean_text.kernels.buffers import utf8
from assets.token_shards.errors import TokenShardError

_DIGITS, _LEADING = 32, 16
_STEP = 0x9E3779B97F4A7C15
_FACTORS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def for_validation(signatures: pa.StringArray, *, validation_share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which documents go to validation, bool [documents].

    The first 16 hex digits of a signature are a number; its hash is what SplitMix64 (Steele, Lea and Flood, "Fast
    Splittable Pseudorandom Number Generators", OOPSLA 2014, figure 17) gives at ``seed + 1`` steps from it. A document
    goes to validation if the hash is below the share of 2^64.

    Args:
        signatures: Signatures of their texts (``assets.clean_text.signatures``): the same for texts that differ only in
            case, width, spacing and punctuation, in whichever dump they are.
        validation_share: Share of signatures that go to validation, below 1.
        seed: Another seed, another choice.

    Raises:
        TokenShardError: If a signature is not 32 hex digits.
    """
    hashes = _leading_number(signatures)
    hashes += np.uint64((seed + 1) * _STEP % (1 << 64))
    for shift, factor in _FACTORS:
        hashes ^= hashes >> np.uint64(shift)
        hashes *= np.uint64(factor)
    hashes ^= hashes >> np.uint64(31)
    return hashes < np.uint64(int(validation_share * (1 << 64)))


def _leading_number(signatures: pa.StringArray) -> npt.NDArray[np.uint64]:
    valid: Any = pc.match_substring_regex(signatures, pattern=f"^[0-9a-f]{{{_DIGITS}}}$")
    if valid.null_count or not pc.all(valid, min_count=0).as_py():
        wrong = signatures[valid.index(False).as_py()] if not valid.null_count else None
        raise TokenShardError(f"{wrong} is no signature of {_DIGITS} hex digits; run the stage clean_text again")
    data, offsets = utf8(signatures)
    leading = data[offsets[0] : offsets[-1]].reshape(-1, _DIGITS)[:, :_LEADING]
    values = np.where(leading > ord("9"), leading - np.uint8(ord("a") - 10), leading - np.uint8(ord("0")))
    octets = (values[:, ::2] << np.uint8(4)) | values[:, 1::2]
    return octets.view(">u8").ravel().astype(np.uint64)
