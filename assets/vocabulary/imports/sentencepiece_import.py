"""SentencePiece's models, unigram and BPE, as ``tokenizers`` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from assets.vocabulary.imports.sentencepiece_model import (
    BPE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNKNOWN,
    USER_DEFINED,
    SentencePieceModel,
    read_model,
)
from assets.vocabulary.unigram import NEVER

_OF_TEXT = (NORMAL, USER_DEFINED)
"""Types of pieces that are found in texts. The names of others are text like any other, if all of their characters are
pieces: an unknown one costs more than anything, also than a name that is never to be found."""


def from_sentencepiece(content: bytes) -> Tokenizer:
    """The tokenizer of a ``.model``.

    Raises:
        ValueError: If it is damaged, or neither unigram nor BPE.
    """
    model = read_model(content)
    if model.kind not in (UNIGRAM, BPE):
        raise ValueError("it is neither a unigram nor a BPE model")
    unknown = next((number for number, piece in enumerate(model.pieces) if piece.type == UNKNOWN), None)
    if model.kind == UNIGRAM:
        entries = [(piece.text, piece.score if piece.type in _OF_TEXT else NEVER) for piece in model.pieces]
        tokenizer = Tokenizer(models.Unigram(entries, unk_id=unknown, byte_fallback=model.byte_fallback))
    else:
        vocabulary = {piece.text: number for number, piece in enumerate(model.pieces)}
        tokenizer = Tokenizer(
            models.BPE(
                vocab=vocabulary,
                merges=_merges(model),
                unk_token=None if unknown is None else model.pieces[unknown].text,
                fuse_unk=True,
                byte_fallback=model.byte_fallback,
            )
        )
    tokenizer.normalizer = _normalizer(model)
    # Metaspace itself would put no space before a text that begins with one, as SentencePiece does.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=False)
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if model.add_dummy_prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([piece.text for piece in model.pieces if piece.type in (CONTROL, UNKNOWN)])
    tokenizer.add_tokens(
        [
            AddedToken(piece.text, special=False, normalized=False)
            for piece in model.pieces
            if piece.type == USER_DEFINED
        ]
    )
    return tokenizer


def sentencepiece_ids(content: bytes, texts: Sequence[str]) -> list[list[int]] | None:
    """What SentencePiece itself gives."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    ids: list[list[int]] = processor.encode(list(texts))
    return ids


def _normalizer(model: SentencePieceModel) -> Any:
    steps: list[Any] = []
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.remove_extra_whitespaces:
        steps += [normalizers.Strip(left=True, right=True), normalizers.Replace(Regex(" {2,}"), " ")]
    if model.add_dummy_prefix:
        steps.append(normalizers.Prepend(" "))
    return normalizers.Sequence(steps) if steps else None


def _merges(model: SentencePieceModel) -> list[tuple[str, str]]:
    """Every way to make an entry of two others, those of high scores first (they were learned first)."""
    ids = {piece.text: number for number, piece in enumerate(model.pieces) if piece.type in _OF_TEXT}
    found = []
    for piece in filter(lambda piece: piece.type in _OF_TEXT, model.pieces):
        for cut in range(1, len(piece.text)):
            left, right = piece.text[:cut], piece.text[cut:]
            if left in ids and right in ids:
                found.append((-piece.score, ids[piece.text], ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]
