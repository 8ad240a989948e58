"""The loaders of litdata and mosaicml-streaming, run by ``benchmarks.loader`` in an environment of their own.

python loader_peers.py prepare PEER TOKENS FOLDER BYTES_OF_A_FILE, then measure PEER TOKENS FOLDER SECONDS: prints
tokens a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

CONTEXT, BATCH = 1024, 16


def pieces(tokens: Path) -> Iterator[torch.Tensor]:
    """The tokens of a flat uint16 file in pieces."""
    data = np.memmap(tokens, dtype=np.uint16, mode="r")
    for begin in range(0, len(data), 1 << 16):
        yield torch.from_numpy(data[begin : begin + (1 << 16)].astype(np.int32))


def prepare_litdata(tokens: Path, folder: Path, file_bytes: int) -> None:
    """Write litdata's chunks of tokens."""
    from litdata import TokensLoader, optimize

    optimize(
        fn=_identity,
        inputs=list(pieces(tokens)),
        output_dir=str(folder),
        chunk_bytes=file_bytes,
        num_workers=1,
        item_loader=TokensLoader(),
    )


def _identity(tokens: torch.Tensor) -> torch.Tensor:
    return tokens


def read_litdata(folder: Path) -> Iterator[torch.Tensor]:
    """Batches without end."""
    from litdata import StreamingDataLoader, StreamingDataset, TokensLoader

    while True:
        dataset = StreamingDataset(str(folder), item_loader=TokensLoader(block_size=CONTEXT + 1), shuffle=True)
        yield from StreamingDataLoader(dataset, batch_size=BATCH, num_workers=0)


def without_torchvision() -> None:
    """Let streaming import what it needs for pictures only: torchvision has no build for every build of torch."""
    import transformers.feature_extraction_utils  # noqa: F401  # looks for torchvision itself, and does without it

    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        module: Any = ModuleType(name)
        module.VisionDataset = module.to_tensor = object
        sys.modules[name] = module


def prepare_streaming(tokens: Path, folder: Path, file_bytes: int) -> None:
    """Write MDS shards, a row a window."""
    without_torchvision()
    from streaming import MDSWriter

    data = np.memmap(tokens, dtype=np.uint16, mode="r")
    with MDSWriter(out=str(folder), columns={"tokens": "ndarray:uint16"}, size_limit=file_bytes) as writer:
        for begin in range(0, len(data) - CONTEXT - 1, CONTEXT):
            writer.write({"tokens": np.asarray(data[begin : begin + CONTEXT + 1])})


def read_streaming(folder: Path) -> Iterator[torch.Tensor]:
    """Batches without end."""
    without_torchvision()
    from streaming import StreamingDataLoader, StreamingDataset

    dataset = StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH)
    while True:
        for batch in StreamingDataLoader(dataset, batch_size=BATCH, num_workers=0):
            yield batch["tokens"]


def speed(batches: Iterator[torch.Tensor], seconds: float) -> float:
    """Tokens a second of some batches, the first ones left out."""
    for _ in range(20):
        next(batches)
    begin, tokens = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for _ in range(10):
            tokens += next(batches).shape[0] * CONTEXT
    return tokens / (time.perf_counter() - begin)


SIDES: dict[str, tuple[Any, Any]] = {
    "litdata": (prepare_litdata, read_litdata),
    "mosaicml-streaming": (prepare_streaming, read_streaming),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    action, peer, source, place = sys.argv[1:5]
    prepare, read = SIDES[peer]
    target = Path(place) / peer
    if action == "prepare":
        prepare(Path(source), target, int(sys.argv[5]))
    else:
        print(speed(read(target), float(sys.argv[5])))
