from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.text_index.errors import TextIndexError
from assets.text_index.search import count, occurrences, phrase_of_tokens
from assets.vocabulary.tokenizer import open_vocabulary
from tests.assets.text_index.indexed_texts import IndexedTexts, found_plainly, index_texts
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS
from training.shards import SPLITS

CONTEXT = 5


def check_search(indexed: IndexedTexts, phrase: str) -> None:
    """Everything that is told of a phrase is what plain searching finds."""
    index = indexed.open()
    expected = list(found_plainly(indexed, phrase))
    counted = count([index], phrase)
    assert counted.documents_exact
    assert counted.occurrences == len(expected)
    assert counted.documents == len({(split, document) for split, document, _ in expected})
    found = occurrences([index], phrase, limit=1 << 30, context=CONTEXT)
    assert [(each.split, each.document) for each in found] == [(split, document) for split, document, _ in expected]
    for each, (split, document, place) in zip(found, expected, strict=True):
        text = indexed.texts[split][document]
        assert (each.dump, each.doc_id) == ("tales", f"tales-{split}-{document}")
        assert each.byte_start == len(text[:place].encode())
        assert each.match == phrase
        assert each.left == text[max(0, place - CONTEXT) : place]
        assert each.right == text[place + len(phrase) :][:CONTEXT]
        check_tokens(indexed, split, document, each.byte_start, phrase, each.first_token, each.tokens)


def check_tokens(
    indexed: IndexedTexts, split: str, document: int, byte_start: int, phrase: str, first: int, tokens: int
) -> None:
    """The tokens hold the phrase, and neither the first nor the last could be spared."""
    index = indexed.open()
    stored = index.shards.split("train" if split == "train" else "validation").document(document)
    ids = stored.ids.tolist()
    first -= stored.start
    before, begun = (len(index.tokens.text(ids[:number])) for number in (first, first + 1))
    unfinished, end = (len(index.tokens.text(ids[:number])) for number in (first + tokens - 1, first + tokens))
    byte_end = byte_start + len(phrase.encode())
    assert before <= byte_start < begun
    assert unfinished < byte_end <= end


VOCABULARIES = ["byte_bpe", "unigram", "character", "byte", "word", "spaces_before_words"]
ALPHABETS = ["ab", "a 天", "é😀,\n"]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[str], str, int, int]:
    """Texts, a phrase that is likely to occur, the size of a part and of a shard."""
    letters = st.text(draw(st.sampled_from(ALPHABETS)), min_size=1, max_size=12)
    texts = draw(st.lists(letters, min_size=3, max_size=9))
    text = draw(st.sampled_from(texts))
    begin = draw(st.integers(0, len(text) - 1))
    phrase = draw(st.one_of(st.just(text[begin : draw(st.integers(begin + 1, len(text)))]), letters))
    return texts, phrase, draw(st.integers(1, 60)), draw(st.integers(1, 30))


@settings(max_examples=80)
@given(world=worlds())
def test_what_is_found_is_what_plain_searching_finds(
    tmp_path_factory: pytest.TempPathFactory, byte_bpe: Path, world: tuple[list[str], str, int, int]
) -> None:
    texts, phrase, part_bytes, shard_tokens = world
    folder = tmp_path_factory.mktemp("world")
    check_search(index_texts(folder, texts, byte_bpe, part_bytes=part_bytes, shard_tokens=shard_tokens), phrase)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_every_vocabulary(tmp_path: Path, vocabulary: str, request: pytest.FixtureRequest) -> None:
    indexed = index_texts(tmp_path, [*ENGLISH, *CHINESE, *OTHERS], request.getfixturevalue(vocabulary), part_bytes=300)
    for phrase in ("keeper", "the ", "s", "每天傍晚", "，", "数", "\n", "412", "counts the ships"):
        assert list(found_plainly(indexed, phrase)) or vocabulary in ("word", "spaces_before_words")
        check_search(indexed, phrase)


def test_words_are_found_as_they_decode(tmp_path: Path, word: Path) -> None:
    index = index_texts(tmp_path, ENGLISH, word).open()
    assert count([index], "Bread costs 2.40 now : flour").occurrences == 1
    assert count([index], "Bread costs 2.40 now: flour").occurrences == 0
    assert occurrences([index], "Bread")[0].byte_start == 0


def test_overlapping_occurrences_count_each(tmp_path: Path, byte_bpe: Path) -> None:
    index = index_texts(tmp_path, ["aaaa", "哈哈哈", "x"], byte_bpe).open()
    assert count([index], "aa").occurrences == 3
    assert [each.byte_start for each in occurrences([index], "哈哈")] == [0, 3]


def test_nothing_reaches_over_the_end_of_a_document(tmp_path: Path, byte_bpe: Path) -> None:
    index = index_texts(tmp_path, ["the sea", "x", "v", " and the land"], byte_bpe).open()
    assert count([index], "the sea").occurrences == 1
    assert count([index], "sea and").occurrences == 0
    assert count([index], "seax").occurrences == 0


def test_case_counts(tmp_path: Path, byte_bpe: Path) -> None:
    index = index_texts(tmp_path, ENGLISH, byte_bpe).open()
    assert (count([index], "bread").occurrences, count([index], "Bread").occurrences) == (0, 1)


def test_a_phrase_is_found_however_it_was_cut_into_tokens(tmp_path: Path, byte_bpe: Path) -> None:
    texts = ["守夜人", "个守夜人", "老灯塔的守夜人", "1守夜人。"]
    opened = open_vocabulary(byte_bpe)
    assert len({tuple(ids) for ids in opened.encode_batch(["守夜人", "老灯塔的守夜人"])}) == 2
    assert count([index_texts(tmp_path, texts, byte_bpe).open()], "守夜人").occurrences == len(texts)


@pytest.mark.parametrize("part_bytes", [1, 100, 1 << 20])
def test_pages_follow_each_other_over_parts_and_splits(tmp_path: Path, byte_bpe: Path, part_bytes: int) -> None:
    index = index_texts(tmp_path, ENGLISH, byte_bpe, part_bytes=part_bytes).open()
    whole = occurrences([index], "the", limit=1 << 30)
    assert len(whole) == count([index], "the").occurrences == 15
    assert {each.split for each in whole} == set(SPLITS)
    for limit in (1, 4, 15, 99):
        pages = [occurrences([index], "the", limit=limit, offset=offset) for offset in range(0, 20, limit)]
        assert [each for page in pages for each in page] == whole
    assert occurrences([index], "the", limit=0) == []


def test_several_dumps_are_searched_together(tmp_path: Path, byte_bpe: Path) -> None:
    tales = index_texts(tmp_path / "1", ENGLISH, byte_bpe, dump="tales")
    reviews = index_texts(tmp_path / "2", [*CHINESE, ENGLISH[0]], byte_bpe, dump="reviews")
    first, second = tales.open(), reviews.open()
    counted = count([first, second], "keeper")
    assert [(each.dump, each.split, each.occurrences) for each in counted.splits] == [
        (dump, split, sum(text.count("keeper") for text in indexed.texts[split]))
        for dump, indexed in (("tales", tales), ("reviews", reviews))
        for split in SPLITS
    ]
    assert counted.occurrences == 3
    found = occurrences([second, first], "keeper")
    assert [each.dump for each in found] == ["reviews", *["tales"] * (len(found) - 1)]
    assert len(found) == counted.occurrences
    assert occurrences([second, first], "keeper", limit=1, offset=1)[0].dump == "tales"


def test_one_split_alone(tmp_path: Path, byte_bpe: Path) -> None:
    indexed = index_texts(tmp_path, ENGLISH, byte_bpe)
    for split in SPLITS:
        counted = count([indexed.open()], "the", splits=[split])
        assert [each.split for each in counted.splits] == [split]
        assert counted.occurrences == sum(text.count("the") for text in indexed.texts[split])
        assert {each.split for each in occurrences([indexed.open()], "the", splits=[split])} == {split}


def test_no_context(tmp_path: Path, byte_bpe: Path) -> None:
    (found,) = occurrences([index_texts(tmp_path, CHINESE, byte_bpe).open()], "老灯塔", context=0)
    assert (found.left, found.match, found.right) == ("", "老灯塔", "")


@pytest.mark.parametrize(("phrase", "reason"), [("", "is empty"), ("a\ud800", "character 1 is half of a pair")])
def test_what_cannot_be_looked_for(tmp_path: Path, byte_bpe: Path, phrase: str, reason: str) -> None:
    index = index_texts(tmp_path, ENGLISH, byte_bpe).open()
    with pytest.raises(TextIndexError, match=reason):
        count([index], phrase)
    with pytest.raises(TextIndexError, match=reason):
        occurrences([index], phrase)


def test_token_ids_are_looked_for_by_their_text(tmp_path: Path, byte_bpe: Path) -> None:
    opened = open_vocabulary(byte_bpe)
    (ids,) = opened.encode_batch(["the ships"])
    assert phrase_of_tokens(opened, ids) == "the ships"
    assert count([index_texts(tmp_path, ENGLISH, byte_bpe).open()], phrase_of_tokens(opened, ids)).occurrences == 2
    (bytes_of_a_smile,) = opened.encode_batch(["😀"])
    for wrong, reason in (
        (bytes_of_a_smile[:-1], "within a character"),
        ([*ids, opened.end_of_document], "end of a document"),
        ([opened.size], "size of the vocabulary"),
        ([-1], "size of the vocabulary"),
    ):
        with pytest.raises(TextIndexError, match=reason):
            phrase_of_tokens(opened, wrong)
