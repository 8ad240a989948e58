"""The program that runs on every rank: ``deepspeed training/train.py --config run.yaml``.

Needs token shards, their vocabulary and a configuration (``training.run_settings.RunSettings``); neither Dagster nor
MLflow. Writes to the output folder: ``metrics.jsonl``, ``tensorboard/``, ``checkpoints/``, and at the end ``model/``
(opens in transformers) and ``report.json``, last. Started again it goes on from its newest checkpoint.

Exit codes: 0 done; 1 object storage does not answer; 2 the settings or the data are wrong; 75 stopped by SIGTERM or
SIGINT after a checkpoint; 76 the weights of ranks differ. After any but 0, 2 and 75 it is worth a new start by itself.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Started as a file, Python looks for modules in this folder; without an installation they are found from above it.
if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

# Wherever MLflow is installed DeepSpeed's tuner, which is not used, would import it for a second and a half.
sys.modules.setdefault("mlflow", None)  # type: ignore[arg-type]

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator

from training.artifact import write_atomically
from training.checkpoint import CheckpointError
from training.compiled_code import set_compiler_folders
from training.corruption import CorruptionError
from training.divergence import DivergedError
from training.exit_codes import AWAY, CORRUPTED, DONE, REFUSED, STOPPED, leave
from training.exports import ExportError
from training.float8 import check_float8
from training.loop import MODEL, SpikeFound, Training
from training.memory import check_memory, free_memory
from training.preflight import check_run
from training.records import Recorder
from training.run_settings import RunSettings, load_run_settings
from training.samples import RUN, recorded
from training.settings import SettingsError
from training.shards import ShardError, Shards, StorageError
from training.shared_memory import unlink_shared_memory
from training.spikes import Spike
from training.stop_signal import StopSignal
from training.watchdog import Watchdog

LOCK = ".lock"

log = logging.getLogger("training")


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
    with locked(run) if rank == 0 else _nothing(), Watchdog(training_settings.watchdog, run, rank) as watchdog:
        deepspeed.init_distributed(dist_backend=get_accelerator().communication_backend_name(), verbose=False)
        if get_accelerator().device_name() == "cpu":
            unlink_shared_memory()
        else:
            get_accelerator().set_device(int(os.environ.get("LOCAL_RANK", 0)))
        device = torch.device(get_accelerator().current_device_name())
        check_memory(training_settings, ranks=ranks, free=free_memory(device))
        if training_settings.parallel.precision == "float8":
            check_float8(device)
        stop = StopSignal()
        outcome: Spike | int | None = None
        while not isinstance(outcome, int):
            watchdog.start()
            outcome = _train(settings, sources, stop, watchdog, left_out=outcome)
            # The engine that goes back must not lie in memory beside the one that goes on.
            gc.collect()
            get_accelerator().empty_cache()
        return outcome


def _train(
    settings: RunSettings, sources: list[Shards], stop: StopSignal, watchdog: Watchdog, *, left_out: Spike | None
) -> Spike | int:
    """Train from the newest checkpoint on; the exit code, or a step that is to be left out from there."""
    training = Training(settings, sources, stop=stop, watchdog=watchdog)
    run, first = training.run, training.rank == 0
    if first:
        write_atomically(run / RUN, settings.model_dump_json(indent=1))
    with Recorder(run, steps=settings.training.steps, first_step=training.step, is_first_rank=first) as recorder:
        if left_out is not None:
            training.name_suspects(left_out, recorder)
        try:
            if not training.train(recorder):
                return STOPPED
        except SpikeFound as found:
            with watchdog.pause():
                training.roll_back(found.spike, recorder)
            return found.spike
        with watchdog.pause():
            training.finish(recorder)
        recorder.say(f"done: the model is in {run / MODEL}", step=training.step)
    return DONE


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
    # What is read is data, also where DeepSpeed itself would let it be a program.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    set_compiler_folders()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    try:
        code = run_training(arguments.config, deepspeed_file=arguments.deepspeed)
    except StorageError as error:
        print(f"error: {error}", file=sys.stderr)
        return AWAY
    except (SettingsError, ShardError, CheckpointError, ExportError, DivergedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except CorruptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return CORRUPTED
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return code


if __name__ == "__main__":
    leave(main())
