"""From settings to a DeepSpeed engine."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.utils import groups

from training.clipping import clip_before_step
from training.deepspeed_configuration import deepspeed_configuration, is_plain
from training.float8 import use_float8
from training.full_weights import masters_without_zero
from training.initialisation import copy_weights, initialise
from training.models import LanguageModel, build_model
from training.optimizers import build_optimizer
from training.run_settings import TrainingSettings
from training.snapshot import SnapshotEngine
from training.tensor_parallel import LayerShare, share_layers


def build_engine(
    settings: TrainingSettings,
    ranks: int,
    *,
    initial: LanguageModel | None = None,
    universal: bool = False,
    share: LayerShare | None = None,
) -> Any:
    """Make the model, its optimizer and DeepSpeed's engine around them.

    Args:
        settings: Of the training.
        ranks: Processes.
        initial: A model to start from instead of first weights.
        universal: Whether a checkpoint in DeepSpeed's universal form will be loaded.
        share: Of this rank, where ranks share layers.
    """
    configuration = deepspeed_configuration(settings, ranks, universal=universal)
    parallel = settings.parallel
    if not parallel.compile:
        # Muon's own functions, too.
        torch._dynamo.config.disable = True
    sharded = (
        # Without its `dtype`, for which it takes bfloat16 on processors that do not multiply float16.
        deepspeed.zero.Init(config_dict_or_path=configuration) if parallel.zero_stage == 3 else nullcontext()
    )
    shape = settings.model if share is None else settings.model.part(share.ranks)
    with sharded:
        model = build_model(shape, loss=settings.loss, recomputation=parallel.activation_checkpointing)
    if initial is None:
        initialise(model, seed=settings.seed, share=share)
    else:
        copy_weights(initial, model, share)
    if parallel.precision == "float8":
        use_float8(model)
    if share is not None:
        share_layers(model, share)
    on_host = parallel.offload_optimizer and get_accelerator().device_name() != "cpu"
    optimizer = build_optimizer(model, settings.model, settings.optimizer, on_host=on_host)
    if is_plain(parallel):
        clip_before_step(optimizer, largest=settings.optimizer.largest_norm, share=share)
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=optimizer, config=configuration, mpu=None if share is None else groups
    )
    _undo_first_step(engine)
    engine.checkpoint_engine = SnapshotEngine()
    # A program beside the checkpoints that nothing here needs, written at once even where the disk is full.
    engine._copy_recovery_script = lambda save_path: None
    if ranks == parallel.tensor_ranks and not parallel.zero_stage:
        # There is nobody to share with, and gathering gradients for it costs as much as the optimizer.
        engine.enable_backward_allreduce = False
    if parallel.compile:
        engine.compile()
    return engine


def _undo_first_step(engine: Any) -> None:
    """Without ZeRO in bfloat16 DeepSpeed makes the optimizer's states by a step without gradients.

    It would count in Adam's bias correction, and has decayed the masters.
    """
    masters = masters_without_zero(engine.optimizer)
    if not masters:
        return
    engine.optimizer.optimizer.state.clear()
    with torch.no_grad():
        for parameter in engine.module.parameters():
            masters[id(parameter)].copy_(parameter)
