"""An encoder is proved once for a vocabulary, and tried on fewer texts of each dump that is encoded with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.token_shards.encoding import encode_dump
from assets.token_shards.settings import TokenShardSettings
from assets.vocabulary.encoders.proofs import Proof, read_proof, write_proof
from assets.vocabulary.tokenizer import open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS, train, write_documents

TEXTS = [*ENGLISH, *CHINESE, *OTHERS]
AGAIN = "proved before"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("clean") / "documents", TEXTS, rows_per_group=3)


def encode(documents: Path, vocabulary: Path, out: Path, proofs: Path | None) -> tuple[str, dict[str, bytes]]:
    """What there is to say of the encoder, and the files."""
    out.mkdir()
    settings = TokenShardSettings(validation_share=0.3)
    report = encode_dump(
        documents, vocabulary, dump="d", language="en", source="s", settings=settings, out=out, proofs=proofs
    )
    return report.encoder, {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_later_dump_is_encoded_the_same_and_says_so(tmp_path: Path, documents: Path, vocabulary: Path) -> None:
    proofs = tmp_path / "proofs"
    note, alone = encode(documents, vocabulary, tmp_path / "alone", None)
    first = encode(documents, vocabulary, tmp_path / "first", proofs)
    assert first == (note, alone)
    proof = read_proof(proofs, open_vocabulary(vocabulary).sha256)
    assert proof == Proof(encoder="compiled", note=note)
    later, files = encode(documents, vocabulary, tmp_path / "later", proofs)
    assert files == alone
    assert later == f"{note}; {AGAIN}, and tried on 9 texts here"  # of every other row group
    (kept,) = proofs.iterdir()
    assert kept.suffix == ".json"


def test_another_vocabulary_is_proved_for_itself(tmp_path: Path, documents: Path, vocabulary: Path) -> None:
    encode(documents, vocabulary, tmp_path / "first", tmp_path / "proofs")
    train(tmp_path, {"en": ENGLISH}, size=300)
    note, _ = encode(documents, tmp_path / "vocabulary", tmp_path / "second", tmp_path / "proofs")
    assert AGAIN not in note
    assert len(list((tmp_path / "proofs").iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b'{"encoder": "compiled"}', b"\xff"])
def test_a_damaged_proof_is_made_anew(tmp_path: Path, documents: Path, vocabulary: Path, damage: bytes) -> None:
    proofs = tmp_path / "proofs"
    note, _ = encode(documents, vocabulary, tmp_path / "first", proofs)
    (kept,) = proofs.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    assert encode(documents, vocabulary, tmp_path / "second", proofs)[0] == note
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("encoder", ["compiled", "of another time"])
def test_an_encoder_that_does_not_suit_is_not_trusted_for_a_proof(
    tmp_path: Path, documents: Path, encoder: str
) -> None:
    train(tmp_path, {"en": ENGLISH, "zh": CHINESE}, size=300, pattern="gpt2")
    vocabulary, proofs = tmp_path / "vocabulary", tmp_path / "proofs"
    sha256 = open_vocabulary(vocabulary).sha256
    write_proof(proofs, sha256, Proof(encoder=encoder, note="wrong"))
    note, files = encode(documents, vocabulary, tmp_path / "out", proofs)
    assert "compiled: it cuts text by another pattern" in note
    assert AGAIN not in note
    assert files == encode(documents, vocabulary, tmp_path / "alone", None)[1]
    proof = read_proof(proofs, sha256)
    assert proof is not None
    assert proof.note == note
    assert AGAIN in encode(documents, vocabulary, tmp_path / "later", proofs)[0]
