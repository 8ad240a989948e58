"""Quality models of the user's: fastText (.bin, .ftz) and ONNX.

The contract for an ONNX model, one input and at least one output of float32 or float64:

- input float32 (batch, 2 ** bits), the second dimension fixed: ``features.hashed_features``, dense; or
- input string (batch,) or (batch, 1): the texts;
- output (the first one of a float type) of (batch,) or (batch, 1): the score; of (batch, k): the last column is. So a
  classifier of scikit-learn's over the classes 0 and 1, exported without its zipmap, fits as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assets.clean_text.arrays import strings
from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from assets.clean_text.quality.fasttext_layout import read_labels
from assets.clean_text.quality.features import hashed_features
from training.artifact import file_sha256, fingerprint

_DENSE_BYTES = 64 << 20
_STRINGS = 1 << 10
_FLOATS = ("tensor(float)", "tensor(double)")


@dataclass(frozen=True)
class FastTextModel:
    """Score: the probability of one label; line ends are spaces to it, as when fastText was trained."""

    path: Path
    label: str
    digest: str
    model: Any

    def score(self, texts: pa.StringArray) -> Array:
        """float64 (n,): the label's probability, 0 where the model leaves it out as impossible."""
        scores = np.zeros(len(texts))
        for index, text in enumerate(strings(texts)):
            # Of a list of lines, fasttext-predict 0.9.2.4 gives the labels without their probabilities.
            predicted = self.model.predict(text.replace("\n", " "), k=-1)
            scores[index] = dict(zip(*predicted, strict=True)).get(self.label, 0)
        # Sums of float32 probabilities may exceed 1 in the last bits.
        return np.clip(scores, 0, 1)


@dataclass(frozen=True)
class OnnxModel:
    """Score: what the model says, by the contract in the module's description."""

    path: Path
    digest: str
    session: Any
    input: Any
    output: str

    def score(self, texts: pa.StringArray) -> Array:
        """float64 (n,): the model's scores.

        Raises:
            CleanTextError: If the model fails, or its output has another shape.
        """
        dense = self.input.type == "tensor(float)"
        size = max(1, _DENSE_BYTES // (4 * self.input.shape[1])) if dense else _STRINGS
        scores = [self._score(texts.slice(begin, size)) for begin in range(0, len(texts), size)]
        return np.concatenate([np.zeros(0), *scores])

    def _score(self, texts: pa.StringArray) -> Array:
        values: Array
        if self.input.type == "tensor(float)":
            values = hashed_features(texts, bits=self.input.shape[1].bit_length() - 1).toarray()
        else:
            values = np.array(strings(texts), dtype=object).reshape((-1, 1)[: len(self.input.shape)])
        try:
            result = np.asarray(self.session.run([self.output], {self.input.name: values})[0], np.float64)
        except Exception as error:
            # onnxruntime's own exceptions have no base class but Exception.
            raise CleanTextError(f"quality model {self.path} fails on texts: {error}") from None
        if result.ndim not in (1, 2) or len(result) != len(texts) or not result.size:
            raise CleanTextError(
                f"quality model {self.path} gives an output of shape {result.shape} for {len(texts)} texts; export it "
                "with an output of (batch,), (batch, 1) or (batch, classes)"
            )
        return result if result.ndim == 1 else result[:, -1]


def load_fasttext_model(path: Path, *, label: str | None) -> FastTextModel:
    """Open a supervised fastText model.

    Args:
        path: A ``.bin`` or ``.ftz`` file.
        label: The label of good text, with its prefix, e.g. ``__label__hq``.

    Raises:
        CleanTextError: If the file is damaged or no classifier, or has no such label; the message has its labels.
    """
    import fasttext

    try:
        known = sorted(read_labels(path))
        if label in known:
            model = fasttext.load_model(str(path))
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise CleanTextError(
            f"quality model {path} is no fastText classifier or is damaged ({error}); copy it again"
        ) from None
    if label is None or label not in known:
        shown = ", ".join(known[:20]) + (" ..." if len(known) > 20 else "")
        what = "needs a label" if label is None else f"has no label '{label}'"
        raise CleanTextError(f"quality model {path} {what}; set the label of good text, one of: {shown}")
    return FastTextModel(path, label, fingerprint([file_sha256(path), label]), model)


def load_onnx_model(path: Path) -> OnnxModel:
    """Open an ONNX model, on the CPU with one thread.

    Raises:
        CleanTextError: If onnxruntime is not installed, the file is no model, or its inputs and outputs do not fit.
    """
    try:
        import onnxruntime
    except ImportError:
        raise CleanTextError(f"quality model {path} needs onnxruntime: pip install 'corpusline[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime's own exceptions have no base class but Exception.
        raise CleanTextError(
            f"quality model {path} is neither a folder of train-quality, nor fastText, nor ONNX ({error}); name another"
        ) from None
    inputs = session.get_inputs()
    output = next((each.name for each in session.get_outputs() if each.type in _FLOATS), None)
    if len(inputs) != 1 or not _fits(inputs[0]) or output is None:
        found = ", ".join(f"{each.type} {each.shape}" for each in (*inputs, *session.get_outputs()))
        raise CleanTextError(
            f"quality model {path}: export it with one input, float32 (batch, power of two) or string (batch,), and "
            f"an output of floats; it has {found}"
        )
    return OnnxModel(path, fingerprint(file_sha256(path)), session, inputs[0], output)


def _fits(described: Any) -> bool:
    shape = described.shape
    if described.type == "tensor(string)":
        return len(shape) == 1 or (len(shape) == 2 and (shape[1] in (1, None) or isinstance(shape[1], str)))
    size = shape[1] if len(shape) == 2 else None
    return described.type == "tensor(float)" and isinstance(size, int) and size >= 2 and size.bit_count() == 1
