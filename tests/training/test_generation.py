from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.training.models.test_decoder import tiny_model
from training.generation import generate, generate_batch, stream_text
from training.models import LanguageModel, ModelSettings, build_model
from training.sampling import SamplingSettings, sample
from training.settings import SettingsError

END = 0
LOGITS = torch.tensor([0.0, math.log(4), math.log(2), -30.0])


def greedy(tokens: int) -> SamplingSettings:
    return SamplingSettings(temperature=0, tokens=tokens)


def without_end(context: int = 16) -> LanguageModel:
    """A model that never finds the end likeliest."""
    model = tiny_model(context=context).eval()
    with torch.no_grad():
        model.head.weight[END] = 0
    return model


def counting_model() -> LanguageModel:
    """A model of ten tokens; after each comes the next one, and 0 after 9."""
    model = build_model(ModelSettings(vocabulary_size=10, width=10, layers=1, heads=1, key_value_heads=1, context=4))
    with torch.no_grad():
        model.blocks[0].attention.output.weight.zero_()
        model.blocks[0].feed_forward.down.weight.zero_()
        model.embedding.weight.copy_(torch.eye(10))
        model.head.weight.copy_(torch.eye(10).roll(1, dims=0) * 30)
    return model.eval()


def draws(count: int = 2000, **values: object) -> list[float]:
    """How often each of four tokens is chosen."""
    generator = torch.Generator().manual_seed(0)
    sampling = SamplingSettings.model_validate({"top_p": 1.0, "temperature": 1.0} | values)
    chosen = [sample(LOGITS, sampling, generator) for _ in range(count)]
    return [chosen.count(token) / count for token in range(4)]


@pytest.mark.parametrize("prompt", [[], [7], [4, 5, 6, 7, 8]])
def test_greedy_follows_the_likeliest_token_of_a_full_forward(prompt: list[int]) -> None:
    model = without_end()
    found = list(generate(model, prompt, greedy(16 - len(prompt)), end_of_document=END))
    sequence = [END, *prompt, *found]
    with torch.no_grad():
        likeliest = model(torch.tensor([sequence[:16]]))[0].argmax(-1).tolist()
    assert found == likeliest[len(prompt) :]
    assert len(set(found)) > 1


@pytest.mark.parametrize("context", [2, 3, 8, 16])
@pytest.mark.parametrize("length", [0, 1, 6, 15, 40])
def test_a_text_longer_than_the_context_goes_on_from_its_last_half(context: int, length: int) -> None:
    model = without_end(context)
    prompt = [1 + number % 7 for number in range(length)]
    found = list(generate(model, prompt, greedy(30), end_of_document=END))
    history = [END, *prompt]
    window = history[-(context - 1) :]
    for token in found:
        if len(window) > context:
            window = history[-(context // 2) :]
        with torch.no_grad():
            assert token == int(model(torch.tensor([window]))[0, -1].argmax())
        history.append(token)
        window = [*window, token]
    assert len(found) == 30


def test_it_stops_at_the_end_of_the_document() -> None:
    model = counting_model()
    assert list(generate(model, [5], greedy(99), end_of_document=END)) == [6, 7, 8, 9]
    assert list(generate(model, [], greedy(99), end_of_document=END)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert list(generate(model, [9], greedy(99), end_of_document=END)) == []
    assert list(generate(model, [5], greedy(2), end_of_document=END)) == [6, 7]


def test_the_same_seed_writes_the_same_text() -> None:
    model = without_end()
    texts = [
        list(generate(model, [3], SamplingSettings(tokens=20, seed=seed, temperature=1), end_of_document=END))
        for seed in (1, 1, 2)
    ]
    torch.manual_seed(5)
    again = list(generate(model, [3], SamplingSettings(tokens=20, seed=1, temperature=1), end_of_document=END))
    assert texts[0] == texts[1] == again
    assert texts[0] != texts[2]


def test_whoever_reads_keeps_its_gradients() -> None:
    for _ in generate(without_end(), [1], greedy(2), end_of_document=END):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [1 / 7, 4 / 7, 2 / 7, 0]),
        ({"temperature": 0.5}, [1 / 21, 16 / 21, 4 / 21, 0]),
        ({"temperature": 0}, [0, 1, 0, 0]),
        ({"temperature": 0.01}, [0, 1, 0, 0]),
        ({"top_k": 1}, [0, 1, 0, 0]),
        ({"top_k": 2}, [0, 2 / 3, 1 / 3, 0]),
        ({"top_k": 99}, [1 / 7, 4 / 7, 2 / 7, 0]),
        ({"top_p": 0.01}, [0, 1, 0, 0]),
        ({"top_p": 0.57}, [0, 1, 0, 0]),
        ({"top_p": 0.58}, [0, 2 / 3, 1 / 3, 0]),
        ({"top_p": 0.9}, [1 / 7, 4 / 7, 2 / 7, 0]),
        ({"top_p": 0.9, "top_k": 2}, [0, 2 / 3, 1 / 3, 0]),
        ({"temperature": 0.5, "top_p": 0.77}, [0, 0.8, 0.2, 0]),
        ({"min_p": 0.26}, [0, 2 / 3, 1 / 3, 0]),
        ({"min_p": 0.24}, [1 / 7, 4 / 7, 2 / 7, 0]),
        ({"min_p": 1.0}, [0, 1, 0, 0]),
    ],
)
def test_tokens_are_chosen_within_the_limits(values: dict[str, float], expected: list[float]) -> None:
    for found, share in zip(draws(**values), expected, strict=True):
        assert abs(found - share) <= 4 * math.sqrt(share * (1 - share) / 2000)


@settings(deadline=None)
@given(
    st.lists(st.integers(-400, 400).map(lambda value: value / 8), min_size=1, max_size=12),
    st.floats(0, 3),
    st.integers(0, 12),
    st.floats(0.01, 1),
)
def test_the_likeliest_token_is_never_left_out(
    values: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    sampling = SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p)
    logits = torch.tensor(values)
    chosen = sample(logits, sampling, torch.Generator().manual_seed(0))
    likelier = int((logits > logits[chosen]).sum())
    assert likelier < (top_k or len(values))
    if likelier and temperature:
        assert float(torch.softmax(logits.double() / temperature, -1)[logits > logits[chosen]].sum()) < top_p + 1e-6


def test_what_is_in_the_text_becomes_less_likely() -> None:
    sampling = SamplingSettings(temperature=0, repetition_penalty=3.0)
    generator = torch.Generator()
    assert sample(LOGITS, sampling, generator) == 1
    assert sample(LOGITS, sampling, generator, history=[1, 1]) == 2
    assert sample(LOGITS, sampling, generator, history=[1, 2]) == 1
    below = torch.tensor([-1.0, -2.0])
    assert sample(below, sampling, generator, history=[0]) == 1
    assert float(below[0]) == -1.0


def test_a_text_may_end_whatever_the_repetition_penalty() -> None:
    """The end-of-document id that is put before every prompt is not in the text."""
    sampling = SamplingSettings(temperature=0, tokens=5, repetition_penalty=100.0)
    model = counting_model()
    with torch.no_grad():
        model.head.weight[5] += 1
    assert list(generate(model, [7], sampling, end_of_document=END)) == [8, 9]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_texts_of_a_batch_are_those_of_each_alone(temperature: float) -> None:
    model = without_end(64)
    prompts = [[3], [4, 5, 6, 7, 8], [], [9, 9]]
    rows = list(
        generate_batch(model, prompts, SamplingSettings(tokens=9, temperature=temperature), end_of_document=END)
    )
    assert len(rows) == 9
    for number, prompt in enumerate(prompts):
        alone = SamplingSettings(tokens=9, temperature=temperature, seed=number)
        expected = list(generate(model, prompt, alone, end_of_document=END))
        assert [row[number] for row in rows if row[number] is not None] == expected


def test_texts_of_a_batch_end_on_their_own() -> None:
    rows = list(generate_batch(counting_model(), [[8], [6], [9]], greedy(99), end_of_document=END))
    assert rows == [[9, 7, None], [None, 8, None], [None, 9, None]]


def test_no_text_ends_too_early() -> None:
    found = list(
        generate(counting_model(), [9], SamplingSettings(temperature=0, tokens=3, least_tokens=2), end_of_document=END)
    )
    assert len(found) in (2, 3)
    assert END not in found


@pytest.mark.parametrize(
    "values", [{"top_p": 0}, {"top_p": 1.1}, {"temperature": -1}, {"top_k": -1}, {"tokens": 0}, {"stop": ["a", ""]}]
)
def test_impossible_sampling_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=f"sampling: '{next(iter(values))}' = "):
        SamplingSettings.parse(values, origin="sampling")


def bytes_of(parts: list[bytes]) -> Callable[[list[int]], str]:
    """A decoder of tokens that are numbers of these parts."""
    return lambda ids: b"".join(parts[number] for number in ids).decode(errors="replace")


def streamed(parts: list[bytes]) -> list[str]:
    return list(stream_text(iter(range(len(parts))), bytes_of(parts)))


def test_a_chinese_character_over_several_tokens_is_streamed_whole() -> None:
    first, second, third = (bytes([byte]) for byte in "海".encode())
    assert streamed([b"a", first, second, third, b"b"]) == ["a", "海", "b"]
    assert streamed([b"a" + first, second + third + first, second + third]) == ["a海海"]


def test_a_piece_comes_as_soon_as_it_is_whole() -> None:
    parts = [b"a", *(bytes([byte]) for byte in "海b".encode())]
    taken: list[int] = []

    def ids() -> Iterator[int]:
        for token in range(len(parts)):
            taken.append(token)
            yield token

    assert [(taken[-1], piece) for piece in stream_text(ids(), bytes_of(parts))] == [(0, "a"), (3, "海"), (4, "b")]


@settings(deadline=None)
@example(text="\naa", stop=["a", "\naa"])
@given(text=st.text("ab海\n", max_size=12), stop=st.lists(st.text("ab海\n", min_size=1, max_size=3), max_size=2))
def test_a_text_ends_before_a_stop_string(text: str, stop: list[str]) -> None:
    pieces = list(stream_text(iter(range(len(text))), lambda ids: "".join(text[number] for number in ids), stop=stop))
    expected = text
    for size in range(len(text) + 1):
        # The first that is complete ends the text, of several the one that begins first.
        if ends := [text.find(string) for string in stop if string in text[:size]]:
            expected = text[: min(ends)]
            break
    assert "".join(pieces) == expected
    assert all(pieces)


def test_no_token_is_taken_after_a_stop_string() -> None:
    ids = iter(range(6))
    assert list(stream_text(ids, lambda tokens: "".join("abcdef"[token] for token in tokens), stop=["cd"])) == [
        "a",
        "b",
    ]
    assert next(ids) == 4


def test_words_keep_the_spaces_between_them() -> None:
    words = ["the", "", "old", "sea"]
    decoded = stream_text(iter([0, 2, 1, 1, 3]), lambda ids: " ".join(words[number] for number in ids if words[number]))
    assert list(decoded) == ["the", " old", " sea"]


def test_what_is_never_whole_comes_at_the_end() -> None:
    assert streamed([b"a", "海".encode()[:2]]) == ["a", "\ufffd"]
    assert streamed([]) == []


@settings(deadline=None)
@given(st.text("a海😀é", min_size=1), st.lists(st.integers(1, 4), max_size=40))
@example("海" * 20, [1, *[3] * 40])
def test_any_cut_of_a_text_streams_to_the_text(text: str, sizes: list[int]) -> None:
    encoded = text.encode()
    starts = [0]
    while starts[-1] < len(encoded):
        starts.append(starts[-1] + (sizes[len(starts) - 1] if len(starts) <= len(sizes) else 1))
    parts = [encoded[start:end] for start, end in pairwise(starts)]
    pieces = streamed(parts)
    assert "".join(pieces) == text
    assert all(pieces)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=5), max_size=20))
def test_any_bytes_stream_to_what_they_decode_to(parts: list[bytes]) -> None:
    assert "".join(streamed(parts)) == b"".join(parts).decode(errors="replace")
