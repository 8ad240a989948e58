"""`corpusline plan`: what a preset takes, as tables, so that nobody starts a job to find out that it does not fit."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from assets.language_model.settings import LanguageModelSettings
from assets.vocabulary.settings import VocabularySettings
from pipelines.presets import load_preset
from training.models import parameter_count, training_flops_per_token
from training.plan import ACCELERATORS, STAGES, Accelerator, Memory, hours, memory, this_processor, total_flops
from training.run_settings import TrainingSettings

GIB = 1 << 30
USABLE_MEMORY = 0.9


def preset_training(preset: str) -> tuple[TrainingSettings, int]:
    """The training of a preset with its vocabulary's size filled in, and the number of its processes.

    Raises:
        SettingsError: If there is no such preset, or a key of it is wrong.
    """
    assets = load_preset(preset).get("ops", {})

    def section(asset: str) -> dict[str, object]:
        found: dict[str, object] = assets.get(asset, {}).get("config", {})
        return found

    vocabulary = VocabularySettings.parse(section("vocabulary"), origin=f"{preset}, vocabulary")
    settings = LanguageModelSettings.parse(section("language_model"), origin=f"{preset}, language_model")
    training = settings.training
    size = training.model.vocabulary_size or vocabulary.size
    model = training.model.model_copy(update={"vocabulary_size": size})
    return training.model_copy(update={"model": model}), settings.launch.ranks


def print_plan(preset: str, *, count: int | None, utilisation: float, console: Console) -> None:
    """Print parameters, operations, memory by ZeRO stage, and hours on named accelerators.

    Args:
        preset: Its name, or the path of a YAML file.
        count: Accelerators; None takes the preset's processes.
        utilisation: Share of an accelerator's peak that is reached.
        console: Where to.

    Raises:
        SettingsError: If there is no such preset, or a key is wrong, or the batch cannot be divided among them.
    """
    training, processes = preset_training(preset)
    count = count or processes
    accumulation = training.gradient_accumulation(training.batch, count)
    model = training.model
    console.print(
        f"[bold]{preset}[/bold]: {parameter_count(model):,} parameters, {training.tokens:,} tokens in "
        f"{training.steps:,} steps of {training.batch} x {model.context}, "
        f"{training_flops_per_token(model):.3g} operations a token, {total_flops(training):.3g} in all",
        highlight=False,
    )
    console.print(
        f"{count} accelerator(s), each {training.parallel.micro_batch} sequence(s) at once, {accumulation} time(s) a "
        f"step; activation checkpointing: {training.parallel.activation_checkpointing}",
        highlight=False,
    )
    needed = Table(title=f"GiB on each of {count}", title_justify="left")
    for heading in ("ZeRO", "states", "gathered", "activations", "logits", "total", "fits from"):
        needed.add_column(heading, justify="left" if heading == "fits from" else "right")
    for stage in STAGES:
        taken = memory(training, stage=stage, ranks=count)
        fitting = next((accelerator.name for accelerator in ACCELERATORS if _fits(taken, accelerator)), None)
        values = (taken.states, taken.gathered, taken.activations, taken.logits, taken.total)
        chosen = stage == training.parallel.zero_stage
        needed.add_row(
            f"{stage} (preset)" if chosen else str(stage),
            *(f"{value / GIB:.2f}" for value in values),
            fitting or "none of these",
            style="bold" if chosen else None,
        )
    console.print(needed)
    expected = Table(title=f"Time on {count}, at {utilisation:.0%} of the processor's speed", title_justify="left")
    for heading in ("accelerator", "memory, GiB", "TFLOP/s", "expected"):
        expected.add_column(heading, justify="left" if heading == "accelerator" else "right")
    taken = memory(training, stage=training.parallel.zero_stage, ranks=count)
    here = this_processor()
    for accelerator in (*ACCELERATORS, here):
        ranks = 1 if accelerator is here else count
        time = hours(training, accelerator, count=ranks, utilisation=utilisation)
        expected.add_row(
            accelerator.name,
            f"{accelerator.memory / GIB:.0f}",
            f"{accelerator.flops / 1e12:.{0 if accelerator.flops > 1e13 else 2}f}",
            _duration(time) if _fits(taken, accelerator) else "does not fit",
        )
    console.print(expected)
    console.print(
        "An estimate: states by Rajbhandari et al. 2020, activations counted from the model as written, a tenth of the "
        "memory left to the allocator. torch.compile and fused kernels need less. Speeds are those of the data sheets "
        "for bfloat16, and in the last row what a product of float32 matrices reached just now.",
        style="dim",
    )


def _fits(taken: Memory, accelerator: Accelerator) -> bool:
    return taken.total < USABLE_MEMORY * accelerator.memory


def _duration(time: float) -> str:
    """Hours in a unit that a person can imagine."""
    if time < 1 / 60:
        return f"{3600 * time:.1f} s"
    if time < 1:
        return f"{60 * time:.1f} min"
    return f"{time:.1f} h" if time < 72 else f"{time:,.0f} h ({time / 24:,.0f} days)"
