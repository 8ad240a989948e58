"""The program that runs on every rank: ``deepspeed training/train.py --config run.yaml``.

Needs token shards, their vocabulary and a configuration (``training.run_settings.RunSettings``); neither Dagster nor
MLflow. Writes to the output folder: ``metrics.jsonl``, ``tensorboard/``, ``checkpoints/``, and at the end ``model/``
(opens in transformers) and ``report.json``, last. Started again it goes on from its newest checkpoint.

Exit codes: 0 done; 2 the settings or the data are wrong; 75 stopped by SIGTERM or SIGINT after a checkpoint.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

# Started as a file, Python looks for modules in this folder; without an installation they are found from above it.
if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import deepspeed
import numpy as np
import torch
from deepspeed.accelerator import get_accelerator

from training.artifact import write_atomically
from training.averaging import WeightAverage, averaged_weights
from training.best import Best
from training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    needs_conversion,
    newest_checkpoint,
    open_checkpoint,
    save_checkpoint,
)
from training.deepspeed_configuration import precision
from training.divergence import DivergedError, documents_of_step, first_of_many, first_wrong_layer
from training.engine import build_engine
from training.export import export_model, load_model
from training.exports import ExportError
from training.full_weights import full_weights
from training.layer_statistics import StepStatistics
from training.loader import Batch, BatchStream, Prefetch
from training.memory import check_memory, free_memory
from training.models import IGNORED, documents_of, parameter_count, training_flops_per_token
from training.permutation import SampleOrderError
from training.preflight import check_run, run_fingerprint
from training.profiling import Profiler
from training.records import METRICS, Recorder, read_records
from training.report import REPORT, Report
from training.run_settings import RunSettings, load_run_settings
from training.samples import PACKING, RUN, earlier_runs, first_step, recorded, training_samples
from training.schedule import learning_rate_share
from training.scoring import Score, score_documents
from training.settings import SettingsError
from training.shards import ShardError, Shards
from training.stop_signal import StopSignal

WRONG_INPUT, STOPPED = 2, 75
MODEL, LOCK = "model", ".lock"
INSPECTED = 512
"""Tokens of the row that layers are looked at with."""

log = logging.getLogger("training")


def seed_of(seed: int, step: int, rank: int) -> int:
    """Seed of what a rank draws at random in a step (dropout)."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run's folder, so that no second training writes to it.

    Raises:
        SettingsError: If another one does.
    """
    with (run / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"another training is at work in {run}; wait for it or stop it") from None
        yield


class Training:
    """One training on this rank, from its newest checkpoint to its last step."""

    def __init__(self, run_settings: RunSettings, sources: list[Shards]) -> None:
        settings = run_settings.training
        self.settings, self.sources = settings, sources
        self.run, self.vocabulary = Path(run_settings.output), Path(run_settings.vocabulary)
        self.rank, self.ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.device = torch.device(get_accelerator().current_device_name())
        weights = [source.weight for source in run_settings.data]
        earlier = earlier_runs(run_settings)
        self.fingerprint = run_fingerprint(run_settings, sources)
        if self.rank:
            # Packing plans are made once.
            torch.distributed.barrier()
        self.reader = training_samples(
            settings, sources, weights, vocabulary=self.vocabulary, plans=self.run / PACKING, earlier=earlier
        )
        if not self.rank:
            torch.distributed.barrier()
        self.steps_before = first_step(earlier)
        self.accumulation = settings.gradient_accumulation(settings.phases[0].batch or 0, self.ranks)
        self.stop = StopSignal()
        found = newest_checkpoint(self.run)
        convert = found is not None and needs_conversion(
            found[1], ranks=self.ranks, zero_stage=settings.parallel.zero_stage
        )
        start = None if found or run_settings.continue_from is None else Path(run_settings.continue_from)
        self.engine = build_engine(
            settings, self.ranks, initial=None if start is None else load_model(start / MODEL), universal=convert
        )
        self.step = 0
        self.step_seconds = 0.0
        self.timed_tokens = 0
        self.last_loss = math.nan
        self.validation: dict[str, dict[str, float]] = {}
        self.best = Best()
        self.average: WeightAverage | None = None
        if settings.averaging:
            self.average = WeightAverage(self.engine.module, decay=settings.averaging, rank=self.rank, ranks=self.ranks)
        if found:
            self._load(*found, convert=convert)
            _, checkpoint = found
            self.step = checkpoint.step
            self.best = Best.of(read_records(self.run / METRICS), self.step)

    def _load(self, folder: Path, checkpoint: Checkpoint, *, convert: bool) -> None:
        load_checkpoint(
            self.engine, folder, checkpoint, fingerprint=self.fingerprint, convert=convert, average=self.average
        )

    def batches(self) -> Iterator[Batch]:
        """This rank's micro-batches of the steps that are left, in order."""
        return iter(
            BatchStream(
                self.reader,
                steps=self.steps_before + self.settings.steps,
                micro_batch=self.settings.parallel.micro_batch,
                rank=self.rank,
                ranks=self.ranks,
                first_step=self.steps_before + self.step,
                pin_memory=self.device.type == "cuda",
            )
        )

    def train(self, recorder: Recorder) -> bool:
        """Do the steps that are left; False if stopped by a signal, after a checkpoint.

        Raises:
            DivergedError: If the loss becomes infinite or no number.
        """
        settings = self.settings
        if self.step:
            recorder.say(f"resumed from the checkpoint of step {self.step}")
        losses: list[torch.Tensor] = []
        waited, begin = 0.0, time.perf_counter()
        first_step = self.step
        profiler = Profiler(settings.profile, self.run, self.rank)
        with Prefetch(self.batches()) as batches, profiler:
            while self.step < settings.steps and not self.stopped_early:
                losses.append(self._one_step(batches, recorder))
                self.step += 1
                profiler.step()
                last = self.step == settings.steps
                recorder.advance({"loss": f"{self.last_loss:.3f}"})
                if self.step % settings.log_every == 0 or last:
                    elapsed = time.perf_counter() - begin
                    self._record(recorder, losses, elapsed, batches.wait_seconds - waited)
                    # The first ones compile.
                    if self.step - len(losses) >= first_step + 10:
                        self.step_seconds += elapsed
                        done = settings.tokens_after(self.step) - settings.tokens_after(self.step - len(losses))
                        self.timed_tokens += done
                    losses.clear()
                    waited, begin = batches.wait_seconds, time.perf_counter()
                pause = time.perf_counter()
                better = False
                if self.step % settings.validate_every == 0 or last:
                    better = self.validate(recorder)
                stop = self.stop.agreed(self.ranks, self.device)
                if self.step % settings.checkpoint_every == 0 or last or stop or (better and settings.keep_best):
                    self.save()
                begin += time.perf_counter() - pause
                if stop and not last:
                    recorder.say(f"stopped by a signal after step {self.step}; started again it goes on from there")
                    return False
        if self.stopped_early:
            recorder.say(
                f"stopped early after step {self.step}: no better validation since step {self.best.step}, which had "
                f"{self.best.loss:.4f} nats a token"
            )
        if not self.validation:
            self.validate(recorder)
        return True

    @property
    def stopped_early(self) -> bool:
        """Whether validation has not improved for as long as the settings have patience."""
        return bool(self.settings.patience) and self.best.since >= self.settings.patience

    def _one_step(self, batches: Prefetch, recorder: Recorder) -> torch.Tensor:
        """Do a step; returns this rank's part of the mean cross-entropy of its targets, without waiting for it."""
        share = learning_rate_share(self.step, steps=self.settings.steps, settings=self.settings.schedule)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self._set_batch(self.reader.order.step(self.steps_before + self.step).batch)
        # Whatever is drawn in a step depends on nothing before it.
        torch.manual_seed(seed_of(self.settings.seed, self.step, self.rank))
        end_of_document = self.reader.end_of_document
        step_batches = [next(batches).on(self.device) for _ in range(self.accumulation)]
        targets = [batch.targets(end_of_document) for batch in step_batches]
        divisor = self._divisor(targets)
        total = torch.zeros((), device=self.device)
        every = self.settings.inspect_every
        inspected = every and (self.step + 1) % every == 0
        statistics = StepStatistics(self.engine.module, ranks=self.ranks) if inspected else None
        for number, (batch, wanted) in enumerate(zip(step_batches, targets, strict=True), start=1):
            inputs = batch.inputs()
            documents = documents_of(inputs, end_of_document) if self.settings.samples.document_mask else None
            objective, nats = self.engine(inputs, wanted, divisor=divisor, documents=documents)
            self.engine.backward(objective)
            if statistics is not None and number == self.accumulation:
                statistics.gradients()
            self.engine.step()
            total += nats
        if self.average is not None:
            self.average.update()
        if statistics is not None:
            recorder.write(self.step + 1, {"layers": statistics.finish(step_batches[0].inputs()[:1, :INSPECTED])})
        return total / self.accumulation

    def _divisor(self, targets: list[torch.Tensor]) -> torch.Tensor:
        """What a micro-batch's sums are divided by, so that DeepSpeed's means are the mean over the step's targets.

        DeepSpeed averages gradients over micro-batches and ranks; targets that do not count lie unevenly in them.
        """
        counted = torch.stack([(wanted != IGNORED).sum() for wanted in targets]).sum().float()
        if self.ranks > 1:
            torch.distributed.all_reduce(counted)
        return (counted / (self.accumulation * self.ranks)).clamp(min=1.0)

    def _set_batch(self, batch: int) -> None:
        """Accumulate as many micro-batches as this step takes."""
        accumulation = self.settings.gradient_accumulation(batch, self.ranks)
        if accumulation != self.accumulation:
            self.engine.set_train_batch_size(batch)
            # DeepSpeed tells the last micro-batch of a step by a multiple of their number since the beginning.
            self.engine.micro_steps = 0
            self.accumulation = accumulation

    def _record(self, recorder: Recorder, losses: list[torch.Tensor], seconds: float, waited: float) -> None:
        steps = len(losses)
        means = torch.stack(losses)
        if self.ranks > 1:
            torch.distributed.all_reduce(means)
            means /= self.ranks
        self.last_loss = float(means.mean())
        if not math.isfinite(self.last_loss):
            self._diverged(self.step - steps + int((~means.isfinite()).nonzero()[0]))
        # Under ZeRO DeepSpeed measures what Muon has made of the gradients.
        measured = self.settings.optimizer.name != "muon" or not self.settings.parallel.zero_stage
        norm = self.engine.get_global_grad_norm() if measured else None
        tokens = self.settings.tokens_after(self.step) - self.settings.tokens_after(self.step - steps)
        speed = tokens / seconds
        values = {
            "loss": self.last_loss,
            "learning_rate": self.engine.optimizer.param_groups[0]["lr"],
            "tokens": self.settings.tokens_after(self.step),
            "tokens_per_second": speed,
            "model_flops_per_second": speed * training_flops_per_token(self.settings.model),
            "data_wait_share": waited / seconds,
            "epochs": self._epochs(),
        }
        if norm is not None and math.isfinite(float(norm)):
            values["gradient_norm"] = float(norm)
        if self.device.type == "cuda":
            values["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
        recorder.write(self.step, values)
        if (self.step // self.settings.log_every) % 10 == 0:
            left = (self.settings.steps - self.step) * seconds / steps
            recorder.say(
                f"step {self.step}/{self.settings.steps}: loss {self.last_loss:.3f}, {speed:,.0f} tokens/s, "
                f"{left / 60:.1f} min left"
            )

    def _diverged(self, step: int) -> None:
        """Say where the loss of a step, counted from 0, stopped being a number; by all ranks together.

        Raises:
            DivergedError: Always.
        """
        order = self.steps_before + step
        first, _, parts = self.reader.order.step(order)
        rows = self.reader.batch(first, self.settings.parallel.micro_batch, parts=parts).on(self.device)
        where = first_wrong_layer(self.engine.module, rows.inputs())
        documents = first_of_many(documents_of_step(self.reader, self.sources, order))
        raise DivergedError(
            f"the loss is no finite number since step {step + 1}: {where}; that step read {documents}. "
            "Lower the learning rate, lengthen the warm-up, or leave documents out; the last checkpoint is from before "
            "and goes on only with the same settings"
        )

    def _samples(self) -> int:
        """Samples of the order that were seen, those of the runs before this one counted in."""
        return self.reader.order.step(self.steps_before + self.step).first

    def _epochs(self) -> dict[str, float]:
        epochs = self.reader.order.epochs(self._samples())
        return {source.dump: passes for source, passes in zip(self.sources, epochs, strict=True)}

    def validate(self, recorder: Recorder) -> bool:
        """Score the first validation documents of each source; whether the loss is lower than ever before."""
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
                    batch=self.settings.parallel.micro_batch,
                    device=self.device,
                    rank=self.rank,
                    ranks=self.ranks,
                )
        self.engine.module.train()
        self.validation = {
            name: {"loss": score.loss, "bits_per_byte": score.bits_per_byte} for name, score in scores.items()
        }
        total = sum(scores.values(), Score(0.0, 0, 0, 0))
        recorder.write(self.step, {"validation_loss": total.loss, "validation": self.validation})
        shown = ", ".join(f"{name} {value['bits_per_byte']:.3f}" for name, value in self.validation.items())
        recorder.say(f"step {self.step}/{self.settings.steps}: validation bits a byte: {shown}")
        self.best = self.best.after(self.step, total.loss)
        return self.best.step == self.step

    def save(self) -> None:
        """Write a checkpoint."""
        save_checkpoint(
            self.engine,
            self.run,
            step=self.step,
            samples=self._samples(),
            fingerprint=self.fingerprint,
            keep=self.settings.keep_checkpoints,
            best=self.best.step if self.settings.keep_best else None,
            average=self.average,
        )

    def finish(self) -> None:
        """Export the model and write the report, last."""
        exported = self.step
        if self.settings.keep_best and self.best.step != self.step:
            folder, checkpoint = open_checkpoint(self.run, self.best.step)
            self._load(folder, checkpoint, convert=False)
            exported = self.best.step
            self.validation = self.best_validation()
        if self.average is None:
            weights = full_weights(self.engine.module, self.rank == 0)
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
                precision=str(precision(self.settings.parallel)).removeprefix("torch."),
                seconds=self.step_seconds,
                tokens_per_second=speed,
                model_flops_per_second=speed * training_flops_per_token(self.settings.model),
                train_loss=self.last_loss if math.isfinite(self.last_loss) else 0.0,
                validation=self.validation,
                epochs=self._epochs(),
                fingerprint=self.fingerprint,
                best_step=exported,
                stopped_early=self.stopped_early,
            )
            write_atomically(self.run / REPORT, json.dumps(asdict(report), indent=1))
        torch.distributed.barrier()

    def best_validation(self) -> dict[str, dict[str, float]]:
        """What was recorded of the best validation."""
        records = [record for record in read_records(self.run / METRICS) if record["step"] == self.best.step]
        return next((record["validation"] for record in records if "validation" in record), self.validation)


def run_training(path: Path, *, deepspeed_file: Path | None = None) -> int:
    """Run the training of a configuration file on this rank; returns the exit code.

    Args:
        path: Of ``RunSettings``.
        deepspeed_file: DeepSpeed's own configuration, in place of ``parallel.deepspeed``.
    """
    settings = load_run_settings(path, deepspeed_file=deepspeed_file)
    run = Path(settings.output)
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    training_settings, sources = check_run(settings, ranks=ranks)
    settings = recorded(settings.model_copy(update={"training": training_settings}), sources)
    with locked(run) if rank == 0 else _nothing():
        deepspeed.init_distributed(dist_backend=get_accelerator().communication_backend_name(), verbose=False)
        if get_accelerator().device_name() != "cpu":
            get_accelerator().set_device(int(os.environ.get("LOCAL_RANK", 0)))
        device = torch.device(get_accelerator().current_device_name())
        check_memory(training_settings, ranks=ranks, free=free_memory(device))
        training = Training(settings, sources)
        if rank == 0:
            write_atomically(run / RUN, settings.model_dump_json(indent=1))
        with Recorder(
            run, steps=training_settings.steps, first_step=training.step, is_first_rank=rank == 0
        ) as recorder:
            if not training.train(recorder):
                return STOPPED
            training.finish()
            recorder.say(f"done: the model is in {run / MODEL}")
    return 0


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def main() -> int:
    """Entry point of every rank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="YAML or JSON file of RunSettings")
    parser.add_argument("--deepspeed", type=Path, help="JSON file with DeepSpeed's own configuration")
    parser.add_argument("--local_rank", type=int, help="given by DeepSpeed's launcher")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    try:
        code = run_training(arguments.config, deepspeed_file=arguments.deepspeed)
    except (SettingsError, ShardError, SampleOrderError, CheckpointError, ExportError, DivergedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return code


if __name__ == "__main__":
    sys.exit(main())
