from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.mixture import MixedSource, MixtureSettings, check_epochs, mixture_shares
from training.permutation import SampleOrderError

SMALL, LARGE = MixedSource("zh", 1.0, 100), MixedSource("en", 3.0, 1600)


def shares(*sources: MixedSource, budget: int = 1000, **settings: object) -> list[float]:
    return mixture_shares(sources, MixtureSettings.model_validate(settings), budget=budget)


def test_by_weight() -> None:
    assert shares(SMALL, LARGE) == [0.25, 0.75]


def test_by_tokens_a_weight_is_a_number_of_passes() -> None:
    assert shares(SMALL, LARGE, by="tokens") == [100 / 4900, 4800 / 4900]


def test_by_temperature() -> None:
    """Square roots of 100 and 4800."""
    by_root = shares(SMALL, LARGE, by="temperature", temperature=2)
    assert by_root == pytest.approx([10 / (10 + 4800**0.5), 4800**0.5 / (10 + 4800**0.5)])
    assert shares(SMALL, LARGE, by="temperature", temperature=1) == shares(SMALL, LARGE, by="tokens")
    assert shares(SMALL, LARGE, by="temperature", temperature=1e9) == pytest.approx([0.5, 0.5])


def test_unimax_is_even_up_to_the_limit() -> None:
    assert shares(SMALL, LARGE, by="unimax", max_epochs=4, budget=600) == [0.5, 0.5]
    # The small one gives 400 tokens in four passes, the other the rest.
    assert shares(SMALL, LARGE, by="unimax", max_epochs=4, budget=2000) == pytest.approx([0.2, 0.8])
    third = MixedSource("ja", 1.0, 10)
    assert shares(SMALL, LARGE, third, by="unimax", max_epochs=1, budget=300) == pytest.approx(
        [100 / 300, 190 / 300, 10 / 300]
    )


@given(
    tokens=st.lists(st.integers(1, 10**6), min_size=1, max_size=6),
    budget=st.integers(1, 10**7),
    limit=st.floats(0.5, 5),
)
def test_unimax_never_exceeds_the_limit_where_the_budget_allows(tokens: list[int], budget: int, limit: float) -> None:
    sources = [MixedSource(str(number), 1.0, count) for number, count in enumerate(tokens)]
    result = mixture_shares(sources, MixtureSettings(by="unimax", max_epochs=limit), budget=budget)
    assert sum(result) == pytest.approx(1)
    if budget <= limit * sum(tokens):
        for share, count in zip(result, tokens, strict=True):
            assert share * budget <= count * limit * (1 + 1e-9)
    # Nobody with more text gets less.
    ordered = [share for _, share in sorted(zip(tokens, result, strict=True))]
    assert all(a <= b * (1 + 1e-9) for a, b in pairwise(ordered))


def test_unimax_gives_what_earlier_runs_have_left() -> None:
    small, large = (MixedSource(source.name, 1.0, source.tokens, read) for source, read in ((SMALL, 300), (LARGE, 700)))
    assert shares(small, large, by="unimax", max_epochs=4, budget=1000) == pytest.approx([0.1, 0.9])
    assert shares(small, large, by="unimax", max_epochs=3, budget=1000) == [0.0, 1.0]
    # The larger one has less left.
    assert shares(small, large, by="unimax", max_epochs=0.5, budget=1000) == [0.0, 1.0]
    assert shares(MixedSource("ja", 1.0, 90), large, by="unimax", max_epochs=0.5, budget=100) == pytest.approx(
        [0.45, 0.55]
    )
    with pytest.raises(SampleOrderError, match=r"have read zh, en 'max_epochs' = 0\.4 times already: raise the limit"):
        shares(small, large, by="unimax", max_epochs=0.4)


def test_unimax_needs_a_limit() -> None:
    with pytest.raises(SampleOrderError, match="needs 'max_epochs'"):
        shares(SMALL, LARGE, by="unimax")


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_wrong_weights_name_their_source(weight: float) -> None:
    with pytest.raises(SampleOrderError, match=r"source 'zh' has weight .*greater than 0; leave it out"):
        shares(MixedSource("zh", weight, 10), LARGE)


def test_no_source() -> None:
    with pytest.raises(SampleOrderError, match="no source"):
        shares()


def test_more_passes_than_the_limit_are_refused() -> None:
    settings = MixtureSettings(max_epochs=4)
    check_epochs(["en", "zh"], [4.0, 1.0], settings)
    check_epochs(["en", "zh"], [400.0, 1.0], MixtureSettings())
    with pytest.raises(SampleOrderError, match=r"'zh' would be read 4\.20 times, more than 'max_epochs' = 4: lower"):
        check_epochs(["en", "zh"], [4.0, 4.2], settings)
