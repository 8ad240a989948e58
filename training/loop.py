"""The steps of a training on one rank, and what is done between them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepspeed.accelerator import get_accelerator

from training.artifact import write_atomically
from training.averaging import WeightAverage, averaged_weights
from training.best import Best
from training.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointWriter,
    Retention,
    newest_checkpoint,
    open_checkpoint,
    remove_checkpoints_after,
)
from training.checkpoint_weights import checkpoint_weights
from training.corruption import CorruptionError, copies_by_name, find_disagreement, judge, remember_disagreement
from training.deepspeed_configuration import precision
from training.divergence import DivergedError, documents_of_step, first_of_many, first_wrong_layer
from training.engine import build_engine
from training.export import export_model, load_model
from training.full_weights import full_weights
from training.layer_statistics import StepStatistics
from training.loader import Batch, BatchStream, Prefetch
from training.models import IGNORED, documents_of, parameter_count, training_flops_per_token
from training.models.shared_sequences import make_share, shared_sequences
from training.preflight import run_fingerprint
from training.profiling import Profiler
from training.records import METRICS, Recorder, read_records
from training.report import REPORT, Report
from training.resumption import Conversion, conversion, load_checkpoint
from training.run_settings import RunSettings
from training.samples import PACKING, earlier_runs, first_step, training_samples
from training.schedule import learning_rate_share
from training.scoring import Score, rows_at_once, score_documents
from training.shards import Shards
from training.spikes import Spike, SpikeDetector, add_skipped, read_skipped
from training.stop_signal import StopSignal
from training.suspects import append_suspects
from training.suspicion import suspects_of_step
from training.tensor_parallel import make_layer_share
from training.watchdog import Watchdog

MODEL = "model"
INSPECTED = 512
"""Tokens of the row that layers are looked at with."""
_MOST_NAMED = 3
_MOST_IN_A_ROW = 3
_MOST_CHARACTERS = 80


class SpikeFound(Exception):
    """A step that is to be left out."""

    def __init__(self, spike: Spike) -> None:
        super().__init__(str(spike))
        self.spike = spike


def seed_of(seed: int, step: int, rank: int) -> int:
    """Seed of what a rank draws at random in a step (dropout)."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1)


class Training:
    """One training on this rank, from its newest checkpoint to its last step."""

    def __init__(
        self, run_settings: RunSettings, sources: list[Shards], *, stop: StopSignal, watchdog: Watchdog
    ) -> None:
        settings = run_settings.training
        self.settings, self.sources = settings, sources
        self.run, self.vocabulary = Path(run_settings.output), Path(run_settings.vocabulary)
        self.rank, self.ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.device = torch.device(get_accelerator().current_device_name())
        weights = [source.weight for source in run_settings.data]
        earlier = earlier_runs(run_settings)
        self.fingerprint = run_fingerprint(run_settings, sources)
        self.reader = training_samples(
            settings, sources, weights, vocabulary=self.vocabulary, plans=self.run / PACKING, earlier=earlier
        )
        self.steps_before = first_step(earlier)
        self.accumulation = settings.gradient_accumulation(settings.phases[0].batch or 0, self.ranks)
        self.share = make_share(settings.parallel.sequence_ranks)
        self.layer_share = make_layer_share(settings.parallel.tensor_ranks)
        self.stop, self.watchdog = stop, watchdog
        self.skipped = {spike.step for spike in read_skipped(self.run)}
        found, self.damaged = newest_checkpoint(
            self.run, rank=self.rank, ranks=self.ranks, wanted=self._is_of_these_steps
        )
        needed: Conversion = "none"
        if found is not None:
            needed = conversion(found[1], settings, ranks=self.ranks)
        start = None if found or run_settings.continue_from is None else Path(run_settings.continue_from)
        self.engine = build_engine(
            settings,
            self.ranks,
            initial=None if start is None else load_model(start / MODEL),
            universal=needed == "universal",
            share=self.layer_share,
        )
        self.step = 0
        self.stopping = False
        self.step_seconds = 0.0
        self.timed_tokens = 0
        self.last_loss = math.nan
        # Of the steps since the last record: this rank's losses that were not looked at, the means over all ranks of
        # those before, and norms of gradients.
        self.losses: list[torch.Tensor] = []
        self.reduced: list[float] = []
        self.norms: list[torch.Tensor | float | None] = []
        self.spikes = SpikeDetector(settings.spikes)
        self.validation: dict[str, dict[str, float]] = {}
        self.best = Best()
        self.average: WeightAverage | None = None
        if settings.averaging:
            self.average = WeightAverage(
                self.engine.module,
                decay=settings.averaging,
                rank=self.rank,
                ranks=self.ranks,
                share=self.layer_share,
            )
        self.writer = CheckpointWriter(self.run, Retention(settings.keep_checkpoints, settings.keep_every))
        if found:
            self._load(*found, needed)
            self._go_on_from(found[1])

    def _load(self, folder: Path, checkpoint: Checkpoint, needed: Conversion) -> None:
        load_checkpoint(
            self.engine,
            folder,
            checkpoint,
            fingerprint=self.fingerprint,
            needed=needed,
            model=self.settings.model,
            optimizer=self.settings.optimizer,
            average=self.average,
            share=self.layer_share,
        )

    def _is_of_these_steps(self, checkpoint: Checkpoint) -> bool:
        """Whether it has left out just the steps that are left out."""
        return set(checkpoint.state["skipped"]) == {step for step in self.skipped if step <= checkpoint.step}

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        self.step = checkpoint.step
        self.best = Best.of(read_records(self.run / METRICS), self.step)
        state = checkpoint.state
        self.reduced, self.norms = list(state["losses"]), list(state["norms"])
        self.step_seconds, self.timed_tokens = state["step_seconds"], state["timed_tokens"]
        self.last_loss = math.nan if state["last_loss"] is None else state["last_loss"]
        self.validation = state["validation"]
        self.spikes.remember(state["past"])

    def _state(self) -> dict[str, Any]:
        """What belongs into a checkpoint beside DeepSpeed's states."""
        return {
            # Copies, since the record is written while the training goes on.
            "losses": list(self.reduced),
            "norms": list(self.norms),
            "step_seconds": self.step_seconds,
            "timed_tokens": self.timed_tokens,
            "last_loss": self.last_loss if math.isfinite(self.last_loss) else None,
            "validation": self.validation,
            "past": self.spikes.past,
            "skipped": sorted(step for step in self.skipped if step <= self.step),
        }

    def batches(self) -> Iterator[Batch]:
        """This rank's micro-batches of the steps that are left and not left out, in order."""
        first = self.step
        for skipped in [*sorted(step for step in self.skipped if step > first), self.settings.steps + 1]:
            yield from BatchStream(
                self.reader,
                steps=self.steps_before + skipped - 1,
                micro_batch=self.settings.parallel.micro_batch,
                rank=self.rank // self.settings.parallel.sharing_ranks,
                ranks=self.ranks // self.settings.parallel.sharing_ranks,
                first_step=self.steps_before + first,
                pin_memory=self.device.type == "cuda",
            )
            first = skipped

    def train(self, recorder: Recorder) -> bool:
        """Do the steps that are left; False if stopped by a signal, after a checkpoint.

        Raises:
            DivergedError: If the loss becomes infinite or no number.
        """
        settings = self.settings
        for problem in self.damaged:
            recorder.say(problem, kind="checkpoint", step=self.step)
        if self.step:
            recorder.say(f"resumed from the checkpoint of step {self.step}", kind="resume", step=self.step)
        waited, begin = 0.0, time.perf_counter()
        first_step, recorded = self.step, self.step
        profiler = Profiler(settings.profile, self.run, self.rank)
        with Prefetch(self.batches()) as batches, profiler:
            while self.step < settings.steps and not self.stopped_early:
                if self.step + 1 not in self.skipped:
                    self.losses.append(self._one_step(batches, recorder))
                    self.norms.append(self._gradient_norm())
                self.step += 1
                self.watchdog.step(self.step)
                profiler.step()
                last = self.step == settings.steps
                recorder.advance({"loss": f"{self.last_loss:.3f}"})
                if self.step % settings.log_every == 0 or last:
                    elapsed = time.perf_counter() - begin
                    # The first ones compile.
                    if recorded >= first_step + 10:
                        self.step_seconds += elapsed
                        self.timed_tokens += settings.tokens_after(self.step) - settings.tokens_after(recorded)
                    self._record(recorder, self.step - recorded, elapsed, batches.wait_seconds - waited)
                    recorded = self.step
                    waited, begin = batches.wait_seconds, time.perf_counter()
                pause = time.perf_counter()
                self._between_steps(recorder, last)
                begin += time.perf_counter() - pause
                if self.stopping and not last:
                    with self.watchdog.pause():
                        self.settle(recorder)
                    recorder.say(
                        f"stopped by a signal after step {self.step}; started again it goes on from there",
                        kind="stop",
                        step=self.step,
                    )
                    return False
        with self.watchdog.pause():
            self.settle(recorder)
        if self.stopped_early:
            recorder.say(
                f"stopped early after step {self.step}: no better validation since step {self.best.step}, which had "
                f"{self.best.loss:.4f} nats a token",
                kind="stop",
                step=self.step,
            )
        if not self.validation:
            self.validate(recorder)
        return True

    def _between_steps(self, recorder: Recorder, last: bool) -> None:
        """Compare weights, validate and save, when it is time."""
        settings = self.settings
        better = False
        if settings.verify_every and (self.step % settings.verify_every == 0 or last):
            self._verify(recorder)
        if self.step % settings.validate_every == 0 or last:
            self._look()
            with self.watchdog.pause("validation"):
                better = self.validate(recorder)
        self.stopping = self.stop.agreed(self.ranks, self.device)
        due = self.step % settings.checkpoint_every == 0 or last or (better and settings.keep_best)
        if due or self.stopping:
            # A step that is to be left out must be in no checkpoint.
            self._look()
            self.save(recorder)

    def _verify(self, recorder: Recorder) -> None:
        """Compare the weights of all ranks.

        Raises:
            CorruptionError: If they differ.
        """
        copies = copies_by_name(self.engine.module, ranks=self.ranks)
        verdict = judge(self.run, copies, step=self.step) if self.rank == 0 else ""
        if verdict:
            recorder.say(verdict, kind="corruption", step=self.step)
        found = find_disagreement(copies, step=self.step, tensor_ranks=self.settings.parallel.tensor_ranks)
        if found is not None:
            if self.rank == 0:
                remember_disagreement(self.run, found)
            recorder.say(str(found), kind="corruption", step=self.step, details=asdict(found))
            raise CorruptionError(str(found))

    @property
    def stopped_early(self) -> bool:
        """Whether validation has not improved for as long as the settings have patience."""
        return bool(self.settings.patience) and self.best.since >= self.settings.patience

    def _one_step(self, batches: Prefetch, recorder: Recorder) -> torch.Tensor:
        """Do a step; returns this rank's part of the mean cross-entropy of its targets, without waiting for it."""
        share = self._rate_share(self.step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self._set_batch(self.reader.order.step(self.steps_before + self.step).batch)
        # Whatever is drawn in a step depends on nothing before it.
        torch.manual_seed(seed_of(self.settings.seed, self.step, self.rank))
        end_of_document = self.reader.end_of_document
        step_batches = [next(batches).on(self.device) for _ in range(self.accumulation)]
        targets = [self._part(batch.targets(end_of_document)) for batch in step_batches]
        divisor = self._divisor(targets)
        total = torch.zeros((), device=self.device)
        every = self.settings.inspect_every
        inspected = every and (self.step + 1) % every == 0
        statistics = StepStatistics(self.engine.module, ranks=self.ranks, share=self.layer_share) if inspected else None
        for number, (batch, wanted) in enumerate(zip(step_batches, targets, strict=True), start=1):
            inputs = batch.inputs()
            documents = None
            if self.settings.samples.document_mask:
                # Attention in blocks has no dropout.
                documents = documents_of(inputs, end_of_document, blocks=False if self.settings.model.dropout else None)
                documents = documents._replace(positions=self._part(documents.positions))
            with shared_sequences(self.share):
                objective, nats = self.engine(self._part(inputs), wanted, divisor=divisor, documents=documents)
                self.engine.backward(objective)
            if statistics is not None and number == self.accumulation:
                statistics.gradients()
            if number == self.accumulation:
                self.writer.hold()
            self.engine.step()
            total += nats
        if self.average is not None:
            self.average.update(self.step + 1 - sum(left <= self.step for left in self.skipped))
        if statistics is not None:
            recorder.write(self.step + 1, {"layers": statistics.finish(step_batches[0].inputs()[:1, :INSPECTED])})
        return total / self.accumulation

    def _rate_share(self, step: int) -> float:
        """What a step, counted from 0, takes of the peak learning rates."""
        return learning_rate_share(step, steps=self.settings.steps, settings=self.settings.schedule)

    def _part(self, rows: torch.Tensor) -> torch.Tensor:
        """This rank's part of the tokens of its rows."""
        return rows if self.share is None else self.share.part(rows)

    def _divisor(self, targets: list[torch.Tensor]) -> torch.Tensor:
        """What a micro-batch's sums are divided by, so that DeepSpeed's means are the mean over the step's targets.

        DeepSpeed averages gradients over micro-batches and ranks; targets that do not count lie unevenly in them.
        """
        counted = torch.stack([(wanted != IGNORED).sum() for wanted in targets]).sum().float()
        if self.ranks > 1:
            torch.distributed.all_reduce(counted)
        return counted.clamp(min=1.0) / (self.accumulation * self.ranks)

    def _set_batch(self, batch: int) -> None:
        """Accumulate as many micro-batches as this step takes."""
        accumulation = self.settings.gradient_accumulation(batch, self.ranks)
        if accumulation != self.accumulation:
            self.engine.set_train_batch_size(batch * self.settings.parallel.sequence_ranks)
            # DeepSpeed tells the last micro-batch of a step by a multiple of their number since the beginning.
            self.engine.micro_steps = 0
            self.accumulation = accumulation

    def _gradient_norm(self) -> torch.Tensor | float | None:
        # Under ZeRO DeepSpeed measures what Muon has made of the gradients.
        measured = self.settings.optimizer.name != "muon" or not self.settings.parallel.zero_stage
        norm: torch.Tensor | float | None = self.engine.get_global_grad_norm() if measured else None
        return norm.detach().clone() if isinstance(norm, torch.Tensor) else norm

    def _over_ranks(self, losses: list[torch.Tensor]) -> list[float]:
        """The means over all ranks of what each has of the steps' losses."""
        if not losses:
            return []
        means = torch.stack(losses)
        if self.ranks > 1:
            torch.distributed.all_reduce(means)
            means /= self.ranks
        return [float(mean) for mean in means]

    def _computed_steps(self, count: int) -> list[int]:
        """Numbers, from 1, of the last steps that were not left out."""
        numbers: list[int] = []
        step = self.step
        while len(numbers) < count:
            if step not in self.skipped:
                numbers.append(step)
            step -= 1
        return numbers[::-1]

    def _look(self) -> None:
        """Look at the losses and norms that were not looked at; by all ranks together.

        Raises:
            SpikeFound: If one is a spike.
            DivergedError: If one is no number, and no step is to be left out for it.
        """
        losses = self._over_ranks(self.losses)
        self.losses.clear()
        norms = [None if norm is None else float(norm) for norm in self.norms[len(self.reduced) :]]
        self.norms[len(self.reduced) :] = norms
        self.reduced += losses
        numbers = self._computed_steps(len(losses))
        spike = self.spikes.look(numbers, losses, norms)
        if spike is not None:
            if len(self.skipped) >= self.settings.spikes.most_skipped:
                self._diverged(spike.step - 1, f"{spike}, and {len(self.skipped)} steps were left out already")
            if self.skipped.issuperset(range(spike.step - _MOST_IN_A_ROW, spike.step)):
                self._diverged(spike.step - 1, f"{spike}, like the {_MOST_IN_A_ROW} before, so it is not their text")
            raise SpikeFound(spike)
        for step, loss in zip(numbers, losses, strict=True):
            if not math.isfinite(loss):
                self._diverged(step - 1, f"the loss is no finite number since step {step}")

    def _record(self, recorder: Recorder, steps: int, seconds: float, waited: float) -> None:
        """Look at the losses, and write a record of those since the last one.

        Raises:
            SpikeFound, DivergedError: See ``_look``.
        """
        self._look()
        if not self.reduced:
            return
        self.last_loss, norm = float(torch.tensor(self.reduced).mean()), self.norms[-1]
        self.reduced, self.norms = [], []
        tokens = self.settings.tokens_after(self.step) - self.settings.tokens_after(self.step - steps)
        speed = tokens / seconds
        values = {
            "loss": self.last_loss,
            "learning_rate": self.settings.optimizer.learning_rate * self._rate_share(self.step - 1),
            "tokens": self.settings.tokens_after(self.step),
            "tokens_per_second": speed,
            "model_flops_per_second": speed * training_flops_per_token(self.settings.model),
            "data_wait_share": waited / seconds,
            "epochs": self._epochs(),
        }
        if norm is not None and math.isfinite(norm):
            values["gradient_norm"] = norm
        if self.device.type == "cuda":
            values["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
        recorder.write(self.step, values)
        if (self.step // self.settings.log_every) % 10 == 0:
            left = (self.settings.steps - self.step) * seconds / steps
            recorder.say(
                f"step {self.step}/{self.settings.steps}: loss {self.last_loss:.3f}, {speed:,.0f} tokens/s, "
                f"{left / 60:.1f} min left",
                step=self.step,
            )

    def _diverged(self, step: int, what: str) -> None:
        """Say where a step, counted from 0, went wrong; by all ranks together.

        Raises:
            DivergedError: Always.
        """
        order = self.steps_before + step
        first, _, parts = self.reader.order.step(order)
        rows = self.reader.batch(first, self.settings.parallel.micro_batch, parts=parts).on(self.device)
        where = first_wrong_layer(self.engine.module, rows.inputs())
        documents = first_of_many(documents_of_step(self.reader, self.sources, order))
        raise DivergedError(
            f"{what}: {where}; that step read {documents}. "
            "Lower the learning rate, lengthen the warm-up, or leave documents out; the last checkpoint is from before "
            "and goes on only with the same settings"
        )

    def _samples(self) -> int:
        """Samples of the order that were seen, those of the runs before this one counted in."""
        return self.reader.order.step(self.steps_before + self.step).first

    def _precision(self) -> str:
        chosen = self.settings.parallel
        return "float8" if chosen.precision == "float8" else str(precision(chosen)).removeprefix("torch.")

    def _epochs(self) -> dict[str, float]:
        epochs = self.reader.order.epochs(self._samples())
        return {source.dump: passes for source, passes in zip(self.sources, epochs, strict=True)}

    def validate(self, recorder: Recorder) -> bool:
        """Score the first validation documents of each source; whether the loss is lower than ever before.

        Raises:
            DivergedError: If it is no finite number.
        """
        self.engine.module.eval()
        scores: dict[str, Score] = {}
        for source in self.sources:
            count = min(self.settings.validation_documents, source.validation.document_count)
            if count:
                scores[source.dump] = score_documents(
                    # Not compiled: shapes differ from batch to batch.
                    self.engine.module.forward,
                    [source.validation.document(number) for number in range(count)],
                    context=self.settings.model.context,
                    end_of_document=source.end_of_document,
                    batch=self._rows_at_once(),
                    device=self.device,
                    rank=self.rank // self.settings.parallel.tensor_ranks,
                    ranks=self.ranks // self.settings.parallel.tensor_ranks,
                    group=None if self.layer_share is None else self.layer_share.replicas,
                )
        self.engine.module.train()
        self.validation = {
            name: {"loss": score.loss, "bits_per_byte": score.bits_per_byte} for name, score in scores.items()
        }
        total = sum(scores.values(), Score(0.0, 0, 0, 0))
        if not math.isfinite(total.loss):
            self._diverged(self.step - 1, f"the validation loss after step {self.step} is no finite number")
        recorder.write(self.step, {"validation_loss": total.loss, "validation": self.validation})
        shown = ", ".join(f"{name} {value['bits_per_byte']:.3f}" for name, value in self.validation.items())
        recorder.say(f"step {self.step}/{self.settings.steps}: validation bits a byte: {shown}", step=self.step)
        self.best = self.best.after(self.step, total.loss)
        return self.best.step == self.step

    def _rows_at_once(self) -> int:
        """Rows that are scored at once, where all their logits are in memory."""
        model = self.settings.model
        return rows_at_once(self.settings.parallel.micro_batch, vocabulary=model.vocabulary_size, context=model.context)

    def save(self, recorder: Recorder) -> None:
        """Take a checkpoint, which is written while the training goes on, when the one before is whole."""
        since = time.perf_counter()
        with self.watchdog.pause():
            self.settle(recorder)
        with self.watchdog.pause("checkpoint"):
            checkpoint = Checkpoint(
                step=self.step,
                samples=self._samples(),
                ranks=self.ranks,
                zero_stage=self.settings.parallel.zero_stage,
                tensor_ranks=self.settings.parallel.tensor_ranks,
                offload_optimizer=self.settings.parallel.offload_optimizer,
                fingerprint=self.fingerprint,
                state=self._state(),
            )
            best = self.best.step if self.settings.keep_best else None
            self.writer.save(self.engine, checkpoint, best=best, average=self.average, since=since)

    def settle(self, recorder: Recorder) -> None:
        """Wait until the checkpoint that is being written is whole; one that cannot be is said, and left out."""
        step, problem = self.writer.step, self.writer.settle()
        if problem:
            recorder.say(
                f"the checkpoint of step {step} could not be written ({problem}); the training goes on and tries again "
                f"after {self.settings.checkpoint_every} steps. Make room, or the steps since the last one can be lost",
                kind="checkpoint",
                step=self.step,
            )
        elif step:
            seconds = {"waited_seconds": self.writer.waited_seconds, "written_seconds": self.writer.written_seconds}
            recorder.write(step, {"checkpoint": seconds})

    def roll_back(self, spike: Spike, recorder: Recorder) -> None:
        """Leave a step out, and everything that came after it; the next training in the folder goes on before it."""
        self.settle(recorder)
        if self.rank == 0:
            add_skipped(self.run, spike)
            remove_checkpoints_after(self.run, spike.step - 1)
        torch.distributed.barrier()
        recorder.say(
            f"{spike}: the training goes back to the checkpoint before and leaves this step's batch out",
            kind="spike",
            step=spike.step,
            details=asdict(spike),
        )
        self.engine.destroy()

    def name_suspects(self, spike: Spike, recorder: Recorder) -> None:
        """Say which documents the model, as it was before, finds strangest in the step that is left out."""
        with self.watchdog.pause():
            suspects = suspects_of_step(
                self.engine.module,
                self.reader,
                self.sources,
                step=spike.step,
                order_step=self.steps_before + spike.step - 1,
                vocabulary=self.vocabulary,
                device=self.device,
                micro_batch=self._rows_at_once(),
                document_mask=self.settings.samples.document_mask,
            )
        if self.rank == 0:
            append_suspects(self.run, suspects)
        shown = "; ".join(
            f"{suspect.doc_id} of {suspect.dump} with {suspect.loss:.2f} nats a token: "
            f"{suspect.text[:_MOST_CHARACTERS]!r}"
            for suspect in suspects[:_MOST_NAMED]
        )
        recorder.say(
            f"step {spike.step}, which is left out, read {len(suspects)} documents, of which the strangest are {shown}",
            kind="spike",
            step=spike.step,
            details={"documents": [suspect.doc_id for suspect in suspects]},
        )

    def finish(self, recorder: Recorder) -> None:
        """Export the model and write the report, last."""
        exported, weights = self.step, None
        if self.settings.keep_best and self.best.step != self.step:
            weights = self._best_weights(recorder)
        if weights is not None:
            exported, self.validation = self.best.step, self.best_validation()
        elif self.average is None:
            weights = full_weights(self.engine, self.rank == 0, self.layer_share)
        else:
            named = self.engine.module.named_parameters()
            weights = averaged_weights(self.average, named, keep=self.rank == 0)
        if self.rank == 0:
            export_model(
                weights,
                self.settings.model,
                vocabulary=self.vocabulary,
                end_of_document=self.sources[0].end_of_document,
                folder=self.run / MODEL,
            )
            speed = self.timed_tokens / self.step_seconds if self.step_seconds else 0.0
            report = Report(
                steps=self.step,
                tokens=self.settings.tokens_after(self.step),
                parameters=parameter_count(self.settings.model),
                ranks=self.ranks,
                precision=self._precision(),
                seconds=self.step_seconds,
                tokens_per_second=speed,
                model_flops_per_second=speed * training_flops_per_token(self.settings.model),
                train_loss=self.last_loss if math.isfinite(self.last_loss) else 0.0,
                validation=self.validation,
                epochs=self._epochs(),
                fingerprint=self.fingerprint,
                best_step=exported,
                skipped_steps=sorted(self.skipped),
                stopped_early=self.stopped_early,
            )
            write_atomically(self.run / REPORT, json.dumps(asdict(report), indent=1))
        torch.distributed.barrier()

    def _best_weights(self, recorder: Recorder) -> dict[str, torch.Tensor] | None:
        """The weights of the best validation's checkpoint on the first rank, nothing on others; None if it is lost."""
        weights: dict[str, torch.Tensor] = {}
        problem = [""]
        if self.rank == 0:
            try:
                folder, checkpoint = open_checkpoint(self.run, self.best.step)
                averaged = bool(self.settings.averaging)
                weights = checkpoint_weights(folder, checkpoint, self.settings, averaged=averaged)
            except CheckpointError as error:
                problem = [str(error)]
        torch.distributed.broadcast_object_list(problem)
        if problem[0]:
            recorder.say(
                f"the model of the best validation, of step {self.best.step}, is lost ({problem[0]}): that of the last "
                "step is exported instead",
                kind="checkpoint",
                step=self.step,
            )
            return None
        return weights

    def best_validation(self) -> dict[str, dict[str, float]]:
        """What was recorded of the best validation."""
        records = [record for record in read_records(self.run / METRICS) if record["step"] == self.best.step]
        return next((record["validation"] for record in records if "validation" in record), self.validation)
