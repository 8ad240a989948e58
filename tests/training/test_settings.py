from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from training.settings import Settings, SettingsError


class Optimizer(Settings):
    learning_rate: float = Field(0.001, gt=0)


class Training(Settings):
    steps: int = Field(ge=1)
    optimizer: Optimizer = Optimizer()
    more: list[Optimizer] = Field(default_factory=list)


def test_good_values_are_taken_and_cannot_be_changed() -> None:
    settings = Training.parse({"steps": 3, "optimizer": {"learning_rate": 0.1}}, origin="file")
    assert settings.optimizer.learning_rate == 0.1
    with pytest.raises(ValidationError):
        settings.steps = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 1, "stepps": 2}, "file: unknown key 'stepps', did you mean 'steps'?"),
        (
            {"steps": 1, "optimizer": {"learning_rat": 2}},
            "file: unknown key 'optimizer.learning_rat', did you mean 'learning_rate'?",
        ),
        ({"steps": 1, "more": [{"q": 2}]}, "file: unknown key 'more.0.q', known: learning_rate"),
        ({}, "file: 'steps' is missing"),
        ({"steps": 0}, "file: 'steps' = 0: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_value_names_the_file_the_key_and_the_remedy(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        Training.parse(values, origin="file")
    assert str(error.value) == message
