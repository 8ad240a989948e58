"""Versions of a model in a registry of the test's own, and which of them is the champion."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from assets.language_model.registration import Registration, register, version_folder
from assets.language_model.tracking import TrackingError, open_experiment, open_tracking
from training.exports import ExportError

BITS = 1.2345666  # rounds up
Register = Callable[..., Registration]


@pytest.fixture
def client() -> MlflowClient:
    return open_tracking()


@pytest.fixture
def registered(client: MlflowClient, tmp_path: Path) -> Register:
    """Registers a model of this fingerprint, from a folder of its own."""
    run = client.create_run(open_experiment(client, "demo"))

    def of(fingerprint: str, bits_per_byte: float, **changes: Any) -> Registration:
        folder = tmp_path / fingerprint
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(fingerprint)
        arguments = {
            "client": client,
            "folder": folder,
            "run_id": run.info.run_id,
            "validation_set": "documents",
            "tags": {},
            "score_other": lambda folder: pytest.fail("measured on the same documents"),
        } | changes
        return register(name="m", fingerprint=fingerprint, bits_per_byte=bits_per_byte, **arguments)

    return of


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias("m", "champion").version)


def test_the_better_one_is_the_champion_and_an_equal_one_is_not_better(
    client: MlflowClient, registered: Register
) -> None:
    assert registered("first", BITS).champion
    assert not registered("equal", BITS).champion
    assert registered("better", 1.2).champion
    assert registered("first", BITS) == Registration(
        "1", champion=False, reason="was registered before; nothing changed"
    )
    assert champion(client) == "3"
    assert client.get_model_version_by_alias("m", "candidate").version == 3


def test_no_champion_is_made_while_the_registry_does_not_say_who_it_is(
    client: MlflowClient, registered: Register
) -> None:
    class Ill:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def get_model_version_by_alias(self, *names: str) -> Any:
            raise MlflowException("503: try again")

    registered("first", 1.0)
    with pytest.raises(TrackingError, match="503"):
        registered("worse", 2.0, client=Ill())
    assert champion(client) == "1"


def test_a_comparison_that_was_interrupted_is_made_up_for(client: MlflowClient, registered: Register) -> None:
    def interrupted(folder: Path) -> float:
        raise KeyboardInterrupt

    registered("first", 1.0)
    with pytest.raises(KeyboardInterrupt):
        registered("better", 0.5, validation_set="others", score_other=interrupted)
    made_up = registered("better", 0.5, validation_set="others", score_other=lambda folder: 0.9)
    assert made_up == Registration(
        "2", champion=True, reason="0.5000 bits a byte, version 1 has 0.9000 on the same documents"
    )
    assert champion(client) == "2"


def test_a_champion_of_another_machine_is_fetched_to_be_compared(
    client: MlflowClient, registered: Register, tmp_path: Path
) -> None:
    registered("first", 1.0)
    shutil.rmtree(tmp_path / "first")
    measured: list[str] = []

    def score(folder: Path) -> float:
        measured.append((folder / "config.json").read_text())
        return 0.9

    assert registered("better", 0.5, validation_set="others", score_other=score).champion
    assert measured == ["first"]
    # Once.
    folder = version_folder(client, "m", "1")
    assert version_folder(client, "m", "1") == folder
    assert list(folder.parent.iterdir()) == [folder]


def test_a_champion_that_cannot_be_measured_stays_and_it_is_said_so(client: MlflowClient, registered: Register) -> None:
    def damaged(folder: Path) -> float:
        raise ExportError("holds no whole model")

    registered("first", 1.0)
    later = registered("better", 0.5, validation_set="others", score_other=damaged)
    assert not later.champion
    assert "cannot be measured on this one (holds no whole model); compare by hand" in later.reason
    assert champion(client) == "1"


def test_a_model_without_a_number_is_no_champion(client: MlflowClient, registered: Register) -> None:
    assert not registered("broken", float("nan")).champion
    assert registered("whole", 3.0).champion
