"""The law of loss, parameters and tokens of Hoffmann et al. 2022 (arXiv:2203.15556, section 3.3), and what it predicts.

    L(N, D) = E + A / N^alpha + B / D^beta

N is the number of parameters, D of tokens trained on, L in nats a token. E, A, B are written as exponentials, and the
sum over points of Huber's loss (delta 1e-3) of log L is minimised, from many starts. Where D / N is the same at all
points there is one variable, B is 0, and the law holds along that line only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.settings import SettingsError

Array = NDArray[np.float64]

DELTA = 1e-3
LEAST_ALONG_LINE, LEAST_OF_BOTH, LEAST_SIZES = 3, 6, 3
SAME_RATIO = 0.02
"""Largest difference of D / N, as a share, of points on one line."""
EXPONENTS = (0.1, 0.25, 0.5, 0.9, 1.4)
SHARES = (0.02, 0.1, 0.3, 0.6)
"""Starts: parts of the mean loss that are due to N, and to D."""
ITERATIONS = 400
LARGEST_HEIGHT, LARGEST_EXPONENT = 50.0, 3.0
LEAST_E, LEAST_EXPONENT = 0.01, 0.01


@dataclass(frozen=True)
class Point:
    """A training: its parameters, its tokens, and its validation loss in nats a token."""

    parameters: int
    tokens: int
    loss: float


@dataclass(frozen=True)
class Law:
    """E + A / N^alpha + B / D^beta.

    Attributes:
        E: Loss of an endless model on endless text, nats a token.
        A, alpha: Of the number of parameters.
        B, beta: Of the number of tokens; B is 0 along a line.
        ratio: Tokens a parameter along which the law holds; None is everywhere.
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float
    ratio: float | None

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token.

        Raises:
            SettingsError: If the law holds along a line and this is not on it.
        """
        if self.ratio is not None and abs(tokens / parameters / self.ratio - 1) > SAME_RATIO:
            raise SettingsError(
                f"the ladder has one number of tokens a parameter, {self.ratio:.3g}, and says nothing about "
                f"{tokens / parameters:.3g}: give 'tokens_per_parameter' another number, or the target the same"
            )
        return _loss(self, parameters, tokens)

    def at_the_edge(self) -> list[str]:
        """Constants that the points do not determine: they came to the edge of what they may be.

        E of nothing would be a text that can be known for certain; exponents of language models lie about 0.3.
        """
        exponents = {"alpha": self.alpha} | ({"beta": self.beta} if self.ratio is None else {})
        edge = [name for name, value in exponents.items() if not LEAST_EXPONENT < value < 0.99 * LARGEST_EXPONENT]
        return (["E"] if self.E < LEAST_E else []) + edge

    def best_division(self, flops: float) -> tuple[float, float] | None:
        """Parameters and tokens of the lowest loss for an amount of operations, taken as 6 N D (equation 4).

        None where the law has one variable, or its exponents are at the edge.
        """
        if self.ratio is not None or {"alpha", "beta"} & set(self.at_the_edge()):
            return None
        balance = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        parameters = balance * (flops / 6) ** (self.beta / (self.alpha + self.beta))
        return parameters, flops / 6 / parameters


@dataclass(frozen=True)
class Prediction:
    """What is expected of a training.

    Attributes:
        parameters, tokens: Of the training.
        loss: Nats a token.
        low, high: Bounds that hold it with this coverage, if the law holds; None where the points leave no residual.
        coverage: Probability.
    """

    parameters: int
    tokens: int
    loss: float
    low: float | None
    high: float | None
    coverage: float


def fit_law(points: Sequence[Point]) -> Law:
    """The law that fits these points best.

    Raises:
        SettingsError: If they are too few.
    """
    problem = _Problem.of(points)
    return problem.law(problem.best())


def residuals(law: Law, points: Sequence[Point]) -> list[float]:
    """log of measured minus log of fitted loss, by point."""
    return [float(np.log(point.loss / _loss(law, point.parameters, point.tokens))) for point in points]


def predict(
    points: Sequence[Point], *, parameters: int, tokens: int, samples: int = 200, coverage: float = 0.9, seed: int = 0
) -> Prediction:
    """The loss that the law of these points gives another training, with a bootstrap interval.

    The residuals are drawn with replacement and added to the fitted losses, the law is fitted to these, and one more
    residual is added to what it predicts (Davison and Hinkley 1997, algorithm 6.4). Residuals of n points and p
    constants are widened by sqrt(n / (n - p)), and by Student's quantile over the normal one, since few say little of
    their own spread. That the law itself may not hold so far out is not in it.

    Args:
        points: Trainings.
        parameters: Of the predicted one.
        tokens: Of the predicted one.
        samples: Draws.
        coverage: Probability that the interval shall have.
        seed: Of the draws.

    Raises:
        SettingsError: If the points are too few, or the law says nothing about that training.
    """
    problem = _Problem.of(points)
    solution = problem.best()
    loss = problem.law(solution).loss(parameters, tokens)
    free = len(points) - len(solution)
    if free <= 0:
        return Prediction(parameters, tokens, loss, None, None, coverage)
    fitted = problem.fitted(solution)
    left = problem.log_losses - fitted
    upper = (1 + coverage) / 2
    left = (left - left.mean()) * np.sqrt(len(points) / free) * stats.t.ppf(upper, free) / stats.norm.ppf(upper)
    noise = np.random.default_rng(seed).choice(left, (samples, len(points) + 1))
    others, _ = problem.solve(np.tile(solution, (samples, 1)), fitted + noise[:, :-1])
    losses = np.array([problem.law(other).loss(parameters, tokens) for other in others])
    low, high = np.quantile(losses * np.exp(noise[:, -1]), [1 - upper, upper])
    return Prediction(parameters, tokens, loss, float(low), float(high), coverage)


def _huber(residuals: Array) -> Array:
    """Sum over the last axis of Huber's loss, in units of delta squared."""
    scaled = np.abs(residuals) / DELTA
    values: Array = np.where(scaled <= 1, scaled**2 / 2, scaled - 0.5).sum(axis=-1)
    return values


def _loss(law: Law, parameters: float, tokens: float) -> float:
    of_tokens = law.B * tokens**-law.beta if law.B else 0.0
    return float(law.E + law.A * parameters**-law.alpha + of_tokens)


@dataclass(frozen=True)
class _Problem:
    """Points for the solver.

    A solution is (e, a, alpha) or (e, a, alpha, b, beta): log L = log(exp(e) + exp(a - alpha x) + exp(b - beta y)),
    where x and y are log N and log D from their means, which keeps the constants from depending on each other.

    Attributes:
        variables: [n, 1 or 2], log N and log D from their means.
        means: [1 or 2].
        log_losses: [n].
        ratio: Tokens a parameter where there is one variable.
    """

    variables: Array
    means: Array
    log_losses: Array
    ratio: float | None

    @classmethod
    def of(cls, points: Sequence[Point]) -> _Problem:
        ratios = [point.tokens / point.parameters for point in points]
        line = bool(points) and max(ratios) / min(ratios) - 1 <= SAME_RATIO
        least = LEAST_ALONG_LINE if line else LEAST_OF_BOTH
        sizes = len({point.parameters for point in points})
        if len(points) < least or sizes < LEAST_SIZES:
            form = "of one number of tokens a parameter" if line else "of several numbers of tokens a parameter"
            raise SettingsError(
                f"{len(points)} trainings of {sizes} sizes are too few for a law {form}: it needs {least} of "
                f"{LEAST_SIZES} sizes; give 'ladder' or 'tokens_per_parameter' more numbers"
            )
        columns = [[point.parameters for point in points]] + ([] if line else [[point.tokens for point in points]])
        logs = np.log(np.array(columns, dtype=np.float64).T)
        means = logs.mean(axis=0)
        losses = np.log(np.array([point.loss for point in points], dtype=np.float64))
        return cls(logs - means, means, losses, float(np.exp(np.log(ratios).mean())) if line else None)

    def terms(self, solutions: Array) -> Array:
        """Logarithms of the law's terms.

        Args:
            solutions: [..., 3 or 5].

        Returns:
            [..., n, 2 or 3].
        """
        shape = (*solutions.shape[:-1], len(self.variables))
        terms = [np.broadcast_to(solutions[..., :1], shape)]
        for column in range(self.variables.shape[1]):
            height, exponent = solutions[..., 1 + 2 * column, None], solutions[..., 2 + 2 * column, None]
            terms.append(height - exponent * self.variables[:, column])
        return np.stack(terms, axis=-1)

    def fitted(self, solutions: Array) -> Array:
        """log L at the points, [..., n]."""
        values: Array = np.logaddexp.reduce(self.terms(solutions), axis=-1)
        return values

    def jacobian(self, solutions: Array) -> Array:
        """Of ``fitted``, [..., n, 3 or 5]."""
        terms = self.terms(solutions)
        shares = np.exp(terms - np.logaddexp.reduce(terms, axis=-1, keepdims=True))
        columns = [shares[..., 0]]
        for column in range(self.variables.shape[1]):
            share = shares[..., 1 + column]
            columns += [share, -share * self.variables[:, column]]
        return np.stack(columns, axis=-1)

    def starts(self) -> Array:
        """[many, 3 or 5]."""
        mean = self.log_losses.mean()
        rows = []
        for choice in product(product(SHARES, EXPONENTS), repeat=self.variables.shape[1]):
            rest = 1 - sum(share for share, _ in choice)
            if rest > 0:
                parts = [value for share, exponent in choice for value in (mean + np.log(share), exponent)]
                rows.append([mean + np.log(rest), *parts])
        return np.array(rows)

    def best(self) -> Array:
        """The best solution that is reached from any start, [3 or 5]."""
        starts = self.starts()
        solutions, costs = self.solve(starts, np.tile(self.log_losses, (len(starts), 1)))
        best: Array = solutions[np.argmin(costs)]
        return best

    def solve(self, starts: Array, log_losses: Array) -> tuple[Array, Array]:
        """Fit many at once by Levenberg and Marquardt's method, with Huber's weights (Huber 1981, section 7.8).

        Args:
            starts: [many, 3 or 5].
            log_losses: [many, n], what each is fitted to.

        Returns:
            Solutions [many, 3 or 5] and their costs [many].
        """
        pairs = self.variables.shape[1]
        low = np.array([-LARGEST_HEIGHT] + [-LARGEST_HEIGHT, 0.0] * pairs)
        high = np.array([LARGEST_HEIGHT] + [LARGEST_HEIGHT, LARGEST_EXPONENT] * pairs)
        solutions = starts.copy()
        costs = _huber(self.fitted(solutions) - log_losses)
        damping = np.full(len(starts), 1e-3)
        for _ in range(ITERATIONS):
            residuals, slopes = self.fitted(solutions) - log_losses, self.jacobian(solutions)
            weighted = slopes * np.minimum(1.0, DELTA / np.maximum(np.abs(residuals), 1e-300))[..., None]
            curvature = np.einsum("snp,snq->spq", weighted, slopes)
            gradient = np.einsum("snp,sn->sp", weighted, residuals)
            diagonal = np.einsum("spp->sp", curvature)
            # A view: the damping is added to the matrices themselves.
            diagonal += damping[:, None] * diagonal + 1e-15
            tried = (solutions - np.linalg.solve(curvature, gradient[..., None])[..., 0]).clip(low, high)
            cost = _huber(self.fitted(tried) - log_losses)
            better = cost < costs
            solutions[better], costs[better] = tried[better], cost[better]
            damping = np.where(better, damping / 4, damping * 3).clip(1e-12, 1e12)
            if (damping > 1e9).all():
                break
        return solutions, costs

    def law(self, solution: Array) -> Law:
        """With E, A and B for N and D themselves."""
        e, a, alpha, *of_tokens = map(float, solution)
        b, beta = of_tokens or (-np.inf, 0.0)
        means = [*self.means, 0.0]
        return Law(
            E=float(np.exp(e)),
            A=float(np.exp(a + alpha * means[0])),
            alpha=alpha,
            B=float(np.exp(b + beta * means[1])),
            beta=beta,
            ratio=self.ratio,
        )
