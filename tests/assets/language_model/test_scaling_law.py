"""Laws of points that a formula made; a ladder of real trainings is in tests/pipelines/test_tune_command.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from assets.language_model.scaling_law.fit import Law, Point, fit_law, predict, residuals
from assets.language_model.scaling_law.ladder import ladder, target
from assets.language_model.scaling_law.report import Check, Measured, ScalingLaw, write_report
from assets.language_model.scaling_law.settings import ScalingLawSettings
from training.models import parameter_count
from training.run_settings import TrainingSettings
from training.settings import SettingsError

# Hoffmann et al. 2022, equation 10.
CHINCHILLA = Law(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28, ratio=None)
SIZES, RATIOS = (1e5, 2e5, 4e5, 8e5), (5.0, 10.0, 20.0)


def points(
    law: Law, *, sizes: Sequence[float] = SIZES, ratios: Sequence[float] = RATIOS, noise: float = 0.0
) -> list[Point]:
    generator = np.random.default_rng(0)
    return [
        Point(int(size), int(size * ratio), law.loss(size, size * ratio) * float(np.exp(noise * generator.normal())))
        for size in sizes
        for ratio in ratios
    ]


def test_planted_constants_are_found() -> None:
    law = fit_law(points(CHINCHILLA))
    for name in ("E", "A", "alpha", "B", "beta"):
        assert getattr(law, name) == pytest.approx(getattr(CHINCHILLA, name), rel=1e-3)
    assert law.loss(70e9, 1.4e12) == pytest.approx(CHINCHILLA.loss(70e9, 1.4e12), rel=1e-4)
    assert residuals(law, points(CHINCHILLA)) == pytest.approx([0.0] * 12, abs=1e-6)


@settings(max_examples=5)
@given(
    irreducible=st.floats(0.5, 4),
    share=st.floats(0.2, 1),
    alpha=st.floats(0.2, 0.8),
    tokens_share=st.floats(0.2, 1),
    beta=st.floats(0.2, 0.8),
)
def test_any_law_predicts_a_larger_model(
    irreducible: float, share: float, alpha: float, tokens_share: float, beta: float
) -> None:
    law = Law(irreducible, share * 2e5**alpha, alpha, tokens_share * 2e6**beta, beta, None)
    expected = law.loss(4e6, 4e7)
    assert fit_law(points(law)).loss(4e6, 4e7) == pytest.approx(expected, rel=2e-3)


def test_no_other_solver_finds_a_better_fit() -> None:
    made = points(CHINCHILLA, noise=0.003)
    sizes, tokens, losses = (
        np.log([getattr(point, name) for point in made]) for name in ("parameters", "tokens", "loss")
    )

    def misses(constants: np.ndarray) -> np.ndarray:
        e, a, alpha, b, beta = constants
        return np.logaddexp(np.logaddexp(e, a - alpha * sizes), b - beta * tokens) - losses

    def cost(constants: Sequence[float]) -> float:
        scaled = np.abs(misses(np.array(constants))) / 1e-3
        return float(np.where(scaled <= 1, scaled**2 / 2, scaled - 0.5).sum())

    law = fit_law(made)
    ours = cost([np.log(law.E), np.log(law.A), law.alpha, np.log(law.B), law.beta])
    for start in ([0.5, 6.0, 0.3, 6.0, 0.3], [0.0, 3.0, 0.5, 8.0, 0.5], [1.0, 8.0, 0.2, 3.0, 0.2]):
        assert ours <= cost(least_squares(misses, start, loss="huber", f_scale=1e-3).x) * (1 + 1e-6)


def test_one_wild_training_does_not_move_the_law() -> None:
    wild = points(CHINCHILLA)
    wild[5] = Point(wild[5].parameters, wild[5].tokens, wild[5].loss * 1.2)
    law = fit_law(wild)
    assert law.loss(4e6, 4e7) == pytest.approx(CHINCHILLA.loss(4e6, 4e7), rel=3e-3)
    assert int(np.argmax(np.abs(residuals(law, wild)))) == 5


def test_one_number_of_tokens_a_parameter_gives_a_law_along_a_line() -> None:
    made = [Point(size, 20 * size, 2 + 1000 * size**-0.5) for size in (1_000, 10_000, 50_000, 200_000)]
    law = fit_law(made)
    assert (law.E, law.A, law.alpha, law.B) == pytest.approx((2.0, 1000.0, 0.5, 0.0), rel=1e-4)
    assert law.ratio == pytest.approx(20)
    assert law.loss(1e6, 2e7) == pytest.approx(3.0)
    assert law.best_division(1e15) is None
    with pytest.raises(SettingsError, match="one number of tokens a parameter, 20, and says nothing about 40"):
        law.loss(1e6, 4e7)
    three = predict(made[:3], parameters=1_000_000, tokens=20_000_000)
    assert three.loss == pytest.approx(3.0, rel=1e-4)
    assert (three.low, three.high) == (None, None)


def test_the_interval_widens_with_noise_and_distance_and_holds_the_truth() -> None:
    def interval(noise: float, size: int) -> tuple[float, float]:
        made = predict(points(CHINCHILLA, noise=noise), parameters=size, tokens=20 * size, samples=100)
        assert made.low is not None and made.high is not None
        assert made.low < made.loss < made.high
        return made.low, made.high

    quiet, noisy, far = interval(0.001, 2_000_000), interval(0.004, 2_000_000), interval(0.001, 100_000_000)
    assert quiet[1] - quiet[0] < noisy[1] - noisy[0]
    assert quiet[1] - quiet[0] < far[1] - far[0]
    for (low, high), size in ((quiet, 2e6), (noisy, 2e6), (far, 1e8)):
        assert low < CHINCHILLA.loss(size, 20 * size) < high


def test_constants_that_the_points_do_not_determine_are_told() -> None:
    assert CHINCHILLA.at_the_edge() == []
    assert CHINCHILLA.best_division(1e20) is not None
    # Losses that fall ever faster are no law of this form.
    falling = [Point(size, 20 * size, 6 - 1e-5 * size) for size in (100_000, 200_000, 300_000, 400_000)]
    assert "E" in fit_law(falling).at_the_edge()
    # The size of the model changes nothing.
    alike = points(Law(1.69, 0.0, 0.0, 410.7, 0.28, None))
    assert fit_law(alike).loss(4e6, 4e7) == pytest.approx(
        Law(1.69, 0.0, 0.0, 410.7, 0.28, None).loss(4e6, 4e7), rel=1e-3
    )


def test_prediction_is_the_same_for_one_seed() -> None:
    made = points(CHINCHILLA, noise=0.003)
    first, again, other = (predict(made, parameters=10**7, tokens=10**8, samples=20, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.loss == other.loss
    assert first.low != other.low


def test_the_best_division_of_operations_has_the_lowest_loss() -> None:
    best = CHINCHILLA.best_division(5.76e23)
    assert best is not None
    parameters, tokens = best
    assert 6 * parameters * tokens == pytest.approx(5.76e23)
    for factor in (0.9, 1.1):
        assert CHINCHILLA.loss(parameters * factor, tokens / factor) > CHINCHILLA.loss(parameters, tokens)


@pytest.mark.parametrize(
    ("sizes", "ratios", "message"),
    [
        (SIZES[:2], (10.0,), "2 trainings of 2 sizes are too few for a law of one number"),
        (SIZES[:2], RATIOS, "6 trainings of 2 sizes are too few for a law of several numbers"),
    ],
)
def test_too_few_points_are_refused(sizes: Sequence[float], ratios: Sequence[float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        fit_law(points(CHINCHILLA, sizes=sizes, ratios=ratios))


PRESET = TrainingSettings.model_validate(
    {
        "steps": 500,
        "batch": 8,
        "model": {"vocabulary_size": 1000, "width": 128, "layers": 8, "heads": 8, "key_value_heads": 4, "context": 32}
        | {"feed_forward_width": 344},
        "optimizer": {"learning_rate": 0.01},
    }
)


def test_a_ladder_is_the_preset_in_small() -> None:
    made = ladder(ScalingLawSettings(shares=[0.5, 0.25], tokens_per_parameter=[20, 5]), PRESET)
    shapes = [
        (m.width, m.layers, m.heads, m.key_value_heads, m.head_size) for m in (rung.training.model for rung in made)
    ]
    assert shapes == [(32, 2, 2, 1, 16)] * 2 + [(64, 4, 4, 2, 16)] * 2
    assert [rung.training.model.feed_forward_width for rung in made] == [88, 88, 176, 176]
    for rung, ratio in zip(made, (5, 20, 5, 20), strict=True):
        assert rung.parameters == parameter_count(rung.training.model)
        assert rung.tokens == rung.training.tokens == pytest.approx(ratio * rung.parameters, rel=0.01)
        assert rung.training.validate_every == rung.training.steps
    assert all(first.parameters <= second.parameters for first, second in pairwise(made))


def test_the_target_is_the_preset_or_larger() -> None:
    assert target(ScalingLawSettings(), PRESET).training.steps == 500
    larger = ScalingLawSettings.parse(
        {"target": {"model": {"width": 256, "layers": 10}, "tokens_per_parameter": 10}}, origin="test"
    )
    rung = target(larger, PRESET)
    assert (rung.training.model.width, rung.training.model.layers) == (256, 10)
    assert rung.tokens == pytest.approx(10 * rung.parameters, rel=0.01)


def test_learning_rates_follow_the_width() -> None:
    of_half = ladder(ScalingLawSettings(shares=[0.5], learning_rate_power=0.5), PRESET)[0].training
    assert of_half.optimizer.learning_rate == pytest.approx(0.01 * 2**0.5)
    mup = PRESET.model_copy(update={"model": PRESET.model.model_copy(update={"initialisation": "mup"})})
    assert ladder(ScalingLawSettings(shares=[0.5]), mup)[0].training.model.base_width == 128


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": [0.5, 1.5]}, "'shares': 1.5 is not between 0 and 1"),
        ({"shares": [0.5, 0.51]}, "two trainings of the ladder are 4x64-"),
        ({"models": [{"width": 30}]}, "'models.0': width 30 is no multiple of heads 8"),
        ({"models": [{"widht": 30}]}, "'models.0': unknown key 'widht', did you mean 'width'?"),
    ],
)
def test_impossible_ladders_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ladder(ScalingLawSettings.parse(changes, origin="test"), PRESET)
    assert message in str(caught.value)


def test_the_report_is_json_and_a_picture(tmp_path: Path) -> None:
    made = points(CHINCHILLA, noise=0.002)
    law = fit_law(made)
    measured = [
        Measured("name", point.parameters, point.tokens, point.loss, residual, 1.0)
        for point, residual in zip(made, residuals(law, made), strict=True)
    ]
    result = ScalingLaw(
        folder=tmp_path,
        preset="tiny",
        points=measured,
        law=law,
        prediction=predict(made, parameters=2_000_000, tokens=20_000_000, samples=20),
        best_parameters=None,
        best_tokens=None,
        check=Check(loss=5.0, error=0.01, inside=True, epochs=9.0),
        mlflow_run="run",
    )
    numbers, picture = write_report(result)
    (warning,) = json.loads(numbers.read_text())["warnings"]
    assert warning.startswith("text was repeated 9 times")
    assert picture.read_bytes().startswith(b"\x89PNG")
