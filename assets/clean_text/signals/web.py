"""Where on the web a document is from; 0 for documents without an address."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from assets.clean_text.signals.batch import TextBatch
from assets.clean_text.signals.registry import signal


@signal(pa.int64(), example=("", 0), on_request=True)
def url_path_depth(batch: TextBatch) -> Any:
    """Folders in the path of the document's address."""
    return _feature(batch, "url_path_depth").astype(np.int64)


@signal(pa.float64(), example=("", 0.0), on_request=True)
def url_digit_share(batch: TextBatch) -> Any:
    """Share of digits in the document's address."""
    return _feature(batch, "url_digit_share")


@signal(pa.int64(), example=("", 0), on_request=True)
def url_length(batch: TextBatch) -> Any:
    """Characters of the document's address."""
    return _feature(batch, "url_length").astype(np.int64)


@signal(pa.int64(), example=("", 0), on_request=True)
def url_is_ip_host(batch: TextBatch) -> Any:
    """1 if the host of the document's address is a number."""
    return _feature(batch, "url_is_ip_host").astype(np.int64)


def _feature(batch: TextBatch, column: str) -> Any:
    values = batch.url_features[column].to_numpy(zero_copy_only=False)
    return np.nan_to_num(values.astype(np.float64))
