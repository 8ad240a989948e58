from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.near_duplicates.minhash import band_hashes, minhash_schema, sign_documents
from assets.clean_text.near_duplicates.settings import MinHashSettings
from training.settings import SettingsError

DEFAULT = MinHashSettings()
FINEWEB = MinHashSettings(bands=14, rows=8)
PAIRS = 4000


def sign(texts: list[str], chosen: MinHashSettings = DEFAULT) -> pa.Table:
    doc_ids = pa.array([f"{index:032x}" for index in range(len(texts))], pa.string())
    return sign_documents(doc_ids, pa.array(texts, pa.string()), chosen)


def planted(similarity: float, size: int, random: np.random.Generator) -> tuple[npt.NDArray[np.uint64], float]:
    """Pairs of sets of one size laid end to end, and their exact Jaccard similarity."""
    common = round(2 * size * similarity / (1 + similarity))
    elements = random.integers(1, 1 << 64, (PAIRS, 2 * size - common), dtype=np.uint64)
    pairs = np.stack([elements[:, :size], elements[:, size - common :]], axis=1)
    return pairs.reshape(-1), common / (2 * size - common)


@pytest.mark.parametrize("size", [3, 20, 150])
@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9])
@pytest.mark.parametrize("chosen", [DEFAULT, FINEWEB], ids=["16x7", "14x8"])
def test_pairs_are_found_as_often_as_the_formula_says(chosen: MinHashSettings, similarity: float, size: int) -> None:
    elements, exact = planted(similarity, size, np.random.default_rng(round(100 * similarity) + size))
    bands = band_hashes(elements, np.arange(0, len(elements) + 1, size), chosen)
    found = (bands[:, ::2] == bands[:, 1::2]).any(axis=0).mean()
    expected = 1 - (1 - exact**chosen.rows) ** chosen.bands
    assert found == pytest.approx(expected, abs=4.5 * np.sqrt(expected * (1 - expected) / PAIRS) + 1e-3)


@pytest.mark.parametrize("similarity", [0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
def test_recall_is_at_least_datatroves(similarity: float) -> None:
    elements, exact = planted(similarity, 200, np.random.default_rng(0))
    bands = band_hashes(elements, np.arange(0, len(elements) + 1, 200), DEFAULT)
    assert (bands[:, ::2] == bands[:, 1::2]).any(axis=0).mean() >= 1 - (1 - exact**8) ** 14


def test_rows_of_a_band_are_independent() -> None:
    # Of each hash of its own: the number that agree has the binomial distribution's mean and spread.
    chosen = MinHashSettings(bands=64, rows=1)
    elements, exact = planted(0.5, 100, np.random.default_rng(1))
    bands = band_hashes(elements, np.arange(0, len(elements) + 1, 100), chosen)
    agreeing = (bands[:, ::2] == bands[:, 1::2]).sum(axis=0)
    assert agreeing.mean() == pytest.approx(64 * exact, rel=0.01)
    assert agreeing.std() == pytest.approx(np.sqrt(64 * exact * (1 - exact)), rel=0.06)


def test_signature_depends_on_the_set_alone() -> None:
    first, second = sign(["a b c d e f", "x y a b c d e f"]).to_pylist()
    assert first["shingles"] == 2 and second["shingles"] == 4
    again, repeated = sign(["a b c d e f", "a, B c d E f! a b c d e f"]).to_pylist()
    assert again == first
    assert repeated["shingles"] == 6
    assert first["bytes"] == 11


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab今 天.\n"), max_size=40), max_size=8), st.integers(0, 8))
def test_batches_do_not_matter(texts: list[str], cut: int) -> None:
    parts = pa.concat_tables([sign(texts[:cut]), sign(texts[cut:])]).drop_columns(["doc_id"])
    assert parts.equals(sign(texts).drop_columns(["doc_id"]))


def test_signatures_stay_the_same_in_later_versions() -> None:
    # Stored signatures are compared with new ones: a change here needs a new version of the stage's code.
    row = sign(["The quick brown fox jumps over the lazy dog. 今天天气很好，我们去公园玩。"]).to_pylist()[0]
    assert (row["shingles"], row["bytes"]) == (14, 87)
    assert (row["band_00"], row["band_15"]) == (11220869114853614520, 5983897855078504786)


def test_schema_names_the_settings() -> None:
    table = sign(["text"])
    assert table.schema.equals(minhash_schema(DEFAULT), check_metadata=True)
    assert table.schema.names == ["doc_id", "bytes", "quality", "shingles", *(f"band_{band:02}" for band in range(16))]
    assert minhash_schema(DEFAULT).metadata != minhash_schema(FINEWEB).metadata


def test_quality_is_kept() -> None:
    quality = pa.array([0.5, None])
    table = sign_documents(pa.array(["a" * 32, "b" * 32]), pa.array(["x", "y"]), DEFAULT, quality=quality)
    assert table["quality"].to_pylist() == [0.5, None]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="bands"):
        MinHashSettings.parse({"bands": 0}, origin="launchpad")
