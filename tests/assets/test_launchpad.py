from typing import Literal

import dagster as dg
import pytest
from pydantic import Field

from assets.launchpad import launchpad_schema
from training.settings import Settings


class Inner(Settings):
    rate: float = Field(0.5, description="How fast.")


class Outer(Settings):
    """Every kind of field that the launchpad can show."""

    size: int = Field(description="How large.")
    kind: Literal["left", "right"] = "left"
    stage: Literal[0, 1] = 1
    limit: float | None = None
    names: list[str] = Field(default_factory=lambda: ["文"])
    prompts: dict[str, list[str]] = Field(default_factory=dict)
    inner: Inner = Inner()
    hidden: str = "path"


@dg.op(config_schema=launchpad_schema(Outer, without=frozenset({"hidden"})))
def show(context: dg.OpExecutionContext) -> None:
    context.log.info(str(Outer.parse(context.op_config, origin="show")))
    assert Outer.parse(context.op_config, origin="show").size == 3


@dg.job
def show_job() -> None:
    show()


def test_defaults_nested_settings_and_choices_reach_the_settings_class() -> None:
    config = {"size": 3, "kind": "right", "stage": 0, "limit": 0.5, "prompts": {"zh": ["从前"]}, "inner": {"rate": 1.0}}
    assert show_job.execute_in_process(run_config={"ops": {"show": {"config": config}}}).success
    assert show_job.execute_in_process(run_config={"ops": {"show": {"config": {"size": 3}}}}).success


@pytest.mark.parametrize("config", [{}, {"size": "many"}, {"size": 3, "kind": "up"}, {"size": 3, "hidden": "x"}])
def test_a_wrong_launchpad_value_is_refused_before_the_run_starts(config: dict[str, object]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        show_job.execute_in_process(run_config={"ops": {"show": {"config": config}}})


def test_help_texts_are_shown() -> None:
    schema = launchpad_schema(Outer)
    assert schema["size"].description == "How large."
    assert schema["size"].is_required
    assert not schema["inner"].is_required


def test_a_field_type_that_the_launchpad_cannot_show_is_an_error() -> None:
    class Odd(Settings):
        value: complex = 1j

    with pytest.raises(TypeError, match=r"Odd\.value"):
        launchpad_schema(Odd)
