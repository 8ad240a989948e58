"""The folder of one training, and what is read out of it while it goes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.language_model.launchers.settings import LaunchSettings
from training.artifact import file_sha256, write_atomically
from training.export import TOKENIZER_FILES, WEIGHTS
from training.records import METRICS, TENSORBOARD, read_records
from training.run_settings import DataSource, RunSettings, TrainingSettings
from training.samples import RUN
from training.settings import SettingsError

# The names that training/train.py gives; importing it would import DeepSpeed into Dagster's process.
REPORT, MODEL = "report.json", "model"
CHECKPOINTS, CHECKPOINT = "checkpoints", "checkpoint.json"
CONFIGURATION, LAUNCH = "configuration.json", "launch.json"
# Settings, data and ranks: what the trace is computed from.
RECORDS = (RUN, REPORT)


@dataclass(frozen=True)
class TrainingRun:
    """A training's working folder. It is resumed, not renamed; the finished model is copied out of it."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """The trainer's configuration file."""
        return self.folder / CONFIGURATION

    @property
    def log(self) -> Path:
        """Output of all ranks, of all times the training was started."""
        return self.folder / "trainer.log"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.folder / TENSORBOARD

    @property
    def finished(self) -> bool:
        """Whether the trainer has written its report, its last file."""
        return (self.folder / REPORT).is_file()

    def report(self) -> dict[str, Any]:
        """The trainer's final report (``training.train.Report``)."""
        report: dict[str, Any] = json.loads((self.folder / REPORT).read_text(encoding="utf-8"))
        return report

    def records(self) -> list[dict[str, Any]]:
        """The metrics written so far."""
        return read_records(self.folder / METRICS)

    def newest_step(self) -> int:
        """Step of the newest checkpoint that is complete; 0 if there is none."""
        records = sorted((self.folder / CHECKPOINTS).glob(f"step-*/{CHECKPOINT}"))
        return int(records[-1].parent.name.removeprefix("step-")) if records else 0

    def configure(
        self,
        training: TrainingSettings,
        *,
        data: Mapping[str, Path],
        weights: Mapping[str, float],
        vocabulary: Path,
        launch: LaunchSettings | None = None,
        continue_from: Path | None = None,
    ) -> RunSettings:
        """Write the configuration file.

        Args:
            training: The training's settings.
            data: Token shards by dump.
            weights: Share of the samples by dump.
            vocabulary: Folder of the tokenizer.
            launch: How its ranks are started; kept for who resumes it by hand.
            continue_from: Folder of the run that this one continues.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = RunSettings(
            training=training,
            data=[DataSource(folder=str(folder), weight=weights[dump]) for dump, folder in data.items()],
            vocabulary=str(vocabulary),
            output=str(self.folder),
            continue_from=None if continue_from is None else str(continue_from.absolute()),
        )
        write_atomically(self.configuration, settings.model_dump_json(indent=1))
        write_atomically(self.folder / LAUNCH, (launch or LaunchSettings()).model_dump_json(indent=1))
        return settings

    def launch(self) -> LaunchSettings:
        """How its ranks are started.

        Raises:
            SettingsError: If the folder holds no training that can be started.
        """
        path = self.folder / LAUNCH
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"{self.folder} holds no training that was started here: {error}") from None
        return LaunchSettings.parse(values, origin=str(path))

    def copy_results(self, folder: Path) -> None:
        """Copy the model, its metrics, and the record from which it can be traced into an artifact."""
        shutil.copytree(self.folder / MODEL, folder, dirs_exist_ok=True)
        for name in (METRICS, *RECORDS):
            shutil.copyfile(self.folder / name, folder / name)


def continued_identity(folder: Path) -> dict[str, str]:
    """What a run that is continued is, for the identity of the one that continues it.

    Raises:
        SettingsError: If the folder holds no finished run.
    """
    weights = folder / MODEL / WEIGHTS
    for path in (folder / RUN, folder / REPORT, weights):
        if not path.is_file():
            raise SettingsError(f"'continue_from': {folder} holds no finished training, there is no {path.name} in it")
    return {"run": file_sha256(folder / RUN), "model": file_sha256(weights)}


def loss_curves(records: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Points (step, nats a token) of the training and validation loss."""
    return {
        "training": [(record["step"], record["loss"]) for record in records if "loss" in record],
        "validation": [
            (record["step"], record["validation_loss"]) for record in records if "validation_loss" in record
        ],
    }


def model_files(folder: Path) -> list[Path]:
    """What of an artifact of language_model belongs to the model's folder: Hugging Face's files and the record."""
    names = ("config.json", "generation_config.json", "model.safetensors", *TOKENIZER_FILES, *RECORDS)
    return [folder / name for name in names if (folder / name).is_file()]
