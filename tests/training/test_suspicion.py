from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from tokenizers import Tokenizer, models

from training.initialisation import initialise
from training.models import build_model
from training.run_settings import TrainingSettings
from training.samples import training_samples
from training.shards import ShardWriter, open_shards
from training.suspects import SUSPECTS, Suspect, append_suspects, read_suspects
from training.suspicion import suspects_of_step

LENGTH = 6
SETTINGS = TrainingSettings.model_validate(
    {
        "model": {"vocabulary_size": 50, "width": 16, "layers": 1, "heads": 2, "feed_forward_width": 16, "context": 7},
        "batch": 4,
        "steps": 1,
        "parallel": {"micro_batch": 2},
    }
)


def test_a_document_that_the_loss_mask_hides_is_no_suspect(tmp_path: Path) -> None:
    """Four documents of a sequence each; of the first nothing is to be learned, of the second a half."""
    with ShardWriter(
        tmp_path,
        vocabulary_hash="ab" * 32,
        vocabulary_size=50,
        end_of_document=0,
        language="en",
        source="house",
        dump="en",
    ) as writer:
        writer.add_documents(
            "train",
            pa.array(["hidden", "half", "seen", "also"]),
            np.arange(1, 4 * LENGTH + 1),
            lengths=np.full(4, LENGTH),
            bytes=np.full(4, LENGTH),
            loss_mask=np.repeat([False, False, False, True, True, True, True, True], LENGTH // 2),
        )
    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(50)}, unk_token="w0"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    sources = [open_shards(tmp_path)]
    model = build_model(SETTINGS.model)
    initialise(model, seed=1)
    suspects = suspects_of_step(
        model,
        training_samples(SETTINGS, sources, [1.0], vocabulary=tmp_path, plans=tmp_path / "plans"),
        sources,
        step=1,
        order_step=0,
        vocabulary=tmp_path,
        device=torch.device("cpu"),
        micro_batch=2,
        document_mask=False,
    )
    assert {suspect.doc_id: suspect.tokens for suspect in suspects} == {"half": 4, "seen": 7, "also": 7}
    assert all(suspect.loss > 0 for suspect in suspects)


def test_a_line_that_a_killed_process_has_left_half_written_is_none(tmp_path: Path) -> None:
    first, second = (Suspect(step, "en", f"{step:032x}", 7, 8.5, "丵 严") for step in (3, 9))
    append_suspects(tmp_path, [first])
    with (tmp_path / SUSPECTS).open("a", encoding="utf-8") as file:
        file.write('{"step": 9, "dump": "en", "doc')
    assert read_suspects(tmp_path) == [first]
    append_suspects(tmp_path, [second])
    append_suspects(tmp_path, [second])
    assert read_suspects(tmp_path) == [first, second]
