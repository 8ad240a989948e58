from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from assets.vocabulary.kinds import byte_tokenizer, untrained
from assets.vocabulary.patterns import PATTERNS
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import Vocabulary, open_vocabulary
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, OTHERS, train
from training.settings import SettingsError

mixed_text = st.text("aZé你好あカー０7½ '’.!，\n\r\t_😀\u0301की", max_size=80)


def cut(text: str, **settings: object) -> list[str]:
    options = VocabularySettings.model_validate(settings)
    tokenizer = byte_tokenizer(options) if options.kind == "byte_bpe" else untrained(options)[0]
    return [text[start:end] for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It's what they'LL say", ["It", "'s", " what", " they", "'LL", " say"]),
        ("o'clock 'tis he’s", ["o", "'", "clock", " '", "tis", " he", "’s"]),
        ("In 2019, 36 ferries", ["In", " ", "201", "9", ",", " ", "36", " ferries"]),
        ("我爱北京天安门", ["我爱北京", "天安门"]),
        ("读Python书 两本", ["读", "Python", "书", " 两本"]),
        ("ひらがなカタカナ", ["ひらがな", "カタカナ"]),
        ("2026年10月", ["202", "6", "年", "10", "月"]),
        ("a  b\n\n c \r\n", ["a", " ", " b", "\n\n", " c", " ", "\r\n"]),
        ("x+=1; //!", ["x", "+=", "1", ";", " //!"]),
        ("cafe\u0301 की", ["cafe\u0301", " की"]),
        ("😀!， 。", ["😀!，", " 。"]),
    ],
)
def test_byte_bpe_cuts_at_the_documented_places(text: str, parts: list[str]) -> None:
    assert cut(text) == parts


@settings(deadline=None)
@given(mixed_text)
def test_byte_bpe_loses_nothing_and_mixes_nothing(text: str) -> None:
    parts = cut(text, longest_han_run=2, digits_per_token=2)
    assert "".join(parts) == text
    for part in parts:
        kinds = {
            "unspaced"
            if regex.match(r"[\p{Han}\p{Hiragana}\p{Katakana}ー]", character)
            else "digit"
            if unicodedata.category(character).startswith("N")
            else "letter"
            if unicodedata.category(character).startswith("L")
            else "other"
            for character in part.removeprefix(" ")
        } - {"other"}
        assert len(kinds) <= 1
        if kinds in ({"unspaced"}, {"digit"}):
            assert len(part.removeprefix(" ")) <= 2


@settings(deadline=None)
@given(st.sampled_from("a你7!\n \u0301"), st.integers(1, 300))
def test_no_run_is_longer_than_a_word_of_a_dictionary(character: str, length: int) -> None:
    assert max(map(len, cut(character * length))) <= 49


@pytest.mark.parametrize(("han", "digits", "size"), [(1, 1, 280), (2, 4, 300), (4, 2, 300)])
def test_entries_keep_to_the_settings(tmp_path: Path, han: int, digits: int, size: int) -> None:
    texts = ["守夜人每天傍晚数船，电话13800138000。\n" * 3, "Call 13800138000 or 20192019."] * 3
    train(tmp_path, {"zh": texts}, size=size, minimum_frequency=1, longest_han_run=han, digits_per_token=digits)
    entries = texts_of(open_vocabulary(tmp_path / "vocabulary"))
    assert max(len(entry.strip()) for entry in entries if regex.search(r"\p{Han}", entry)) == han
    assert max(len(entry) for entry in entries if entry.isdigit()) == digits


def test_no_entry_crosses_letters_han_and_digits(byte_bpe: Vocabulary) -> None:
    entries = texts_of(byte_bpe)
    assert any(len(entry) > 1 and regex.fullmatch(r"\p{Han}+", entry) for entry in entries)
    assert any(len(entry) > 3 and entry.strip().isalpha() and entry.isascii() for entry in entries)
    crossing = r"\p{Han}[\p{Latin}\p{N}]|[\p{Latin}\p{N}]\p{Han}|\p{Latin}\p{N}|\p{N}\p{Latin}"
    assert not [entry for entry in entries if regex.search(crossing, entry)]


def test_characters_are_tokens_of_one_character(character: Vocabulary) -> None:
    for text in (*ENGLISH, *CHINESE):
        ids = character.encode_batch([text])[0]
        assert len(ids) == len(text)
        assert character.decode(ids) == text


def test_an_unseen_character_is_its_bytes(character: Vocabulary) -> None:
    ids = character.encode_batch(["sea 龘"])[0]
    names = [character.tokenizer.id_to_token(token) for token in ids]
    assert names == ["s", "e", "a", " ", "<0xE9>", "<0xBE>", "<0x98>"]
    assert character.decode(ids) == "sea 龘"


def test_bytes_are_tokens(tmp_path: Path) -> None:
    train(tmp_path, {"en": ["a"]}, kind="byte", size=257)
    vocabulary = open_vocabulary(tmp_path / "vocabulary")
    assert vocabulary.size == 257
    assert [vocabulary.token_bytes()[token] for token in vocabulary.encode_batch(["é我"])[0]] == [
        bytes([byte]) for byte in "é我".encode()
    ]


@pytest.mark.parametrize("kind", ["byte_bpe", "unigram"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_of_peers(tmp_path: Path, kind: str, pattern: str) -> None:
    train(tmp_path, {"en": ENGLISH * 4, "zh": CHINESE * 4}, kind=kind, pattern=pattern, size=400)
    vocabulary = open_vocabulary(tmp_path / "vocabulary")
    for text in (*ENGLISH, *CHINESE, *OTHERS):
        ids = vocabulary.encode_batch([text])[0]
        assert vocabulary.decode(ids) == text
        assert vocabulary.decode_bytes(ids) == text.encode()
    digits = [len(vocabulary.encode_batch([number])[0]) for number in ("2019",)]
    assert digits[0] >= (4 if pattern == "qwen" else 1)


def test_the_patterns_cut_as_the_peers_do() -> None:
    text = "It's 12345 don'T\n\n  x，你好world"
    cuts = {name: cut(text, pattern=name) for name in PATTERNS}
    assert cuts["gpt2"] == ["It", "'s", " 12345", " don", "'", "T", "\n\n ", " x", "，", "你好world"]
    assert cuts["gpt4"] == ["It", "'s", " ", "123", "45", " don", "'T", "\n\n", " ", " x", "，你好world"]
    assert cuts["llama3"] == cuts["gpt4"]
    assert cuts["qwen"] == ["It", "'s", " ", *"12345", " don", "'T", "\n\n", " ", " x", "，你好world"]


def test_special_and_added_tokens(tmp_path: Path) -> None:
    train(
        tmp_path,
        {"en": ENGLISH, "zh": CHINESE},
        size=300,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        added_tokens=["灯塔"],
        chat_template="chatml",
    )
    folder = tmp_path / "vocabulary"
    vocabulary = open_vocabulary(folder)
    assert [vocabulary.tokenizer.token_to_id(name) for name in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")] == [
        0,
        1,
        2,
    ]
    assert vocabulary.size == 301
    assert vocabulary.special_ids == {0, 1, 2}
    (ids,) = vocabulary.encode_batch(["老灯塔<|im_end|>"])
    assert 300 in ids
    assert 2 not in ids
    assert vocabulary.decode(ids) == "老灯塔<|im_end|>"
    opened = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hi."}]
    assert opened.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert opened.apply_chat_template(chat)["input_ids"][0] == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "imported"}, "'import_from' goes with 'kind' = imported"),
        ({"import_from": "a.json"}, "'import_from' goes with 'kind' = imported"),
        ({"end_of_document": "</s>"}, "'end_of_document' is for imported"),
        ({"special_tokens": ["<a>", "<a>"]}, "'<a>' is named twice"),
        ({"special_tokens": ["<|endoftext|>"]}, "is named twice, reserved"),
        ({"chat_template": "chatml"}, r"chatml needs <\|im_start\|> and <\|im_end\|> among 'special_tokens'"),
        ({"chat_template": "ChatML"}, "'chat_template' = 'ChatML' is neither none nor chatml"),
        ({"chat_template": "{% for m in messages %}\n{{ m"}, "'chat_template', line 2, is no Jinja template"),
        ({"special_tokens": ["我"], "kind": "character"}, r"'我' is what a text is cut into .* such as <\|我\|>"),
        ({"special_tokens": ["don't"], "kind": "word"}, '"don\'t" is what a text is cut into'),
        ({"special_tokens": ["abc"]}, "'abc' is what a text is cut into"),
        ({"special_tokens": ["a"], "kind": "byte"}, "'a' is what a text is cut into"),
        ({"special_tokens": ["abc"], "kind": "unigram", "pattern": "gpt4"}, "'abc' is what a text is cut into"),
        ({"pattern": "gpt3"}, "'pattern' = 'gpt3'"),
        ({"longest_han_run": 17}, "'longest_han_run' = 17"),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        VocabularySettings.parse(values, origin="vocabulary")


@pytest.mark.parametrize(
    "template",
    [
        "{% for message in messages %}{% generation %}{{ message.content }}{% endgeneration %}{% endfor %}",
        "{%- for message in messages -%}{%- if loop.last -%}{%- break -%}{%- endif -%}{{ message }}{%- endfor -%}",
    ],
)
def test_templates_as_transformers_reads_them(template: str) -> None:
    assert VocabularySettings.parse({"chat_template": template}, origin="vocabulary").chat_template == template


def test_a_unigram_vocabulary_is_the_same_whatever_the_threads(tmp_path: Path) -> None:
    """In processes of their own, since the library reads the number of threads once."""
    program = (
        "import sys; from pathlib import Path; from tests.assets.vocabulary.documents import *;"
        "train(Path(sys.argv[1]), {'en': ENGLISH * 9, 'zh': CHINESE * 9}, kind='unigram', size=380)"
    )
    contents = []
    for threads in ("1", "2", "3"):
        folder = tmp_path / threads
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", program, str(folder)], check=True, env={**os.environ, "RAYON_NUM_THREADS": threads}
        )
        contents.append((folder / "vocabulary" / "tokenizer.json").read_bytes())
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("He didn't go.", ["He", "didn't", "go", "."]),
        ("costs 2.40 or 1,000", ["costs", "2.40", "or", "1,000"]),
        ("港口 有 412 艘 船 。", ["港口", "有", "412", "艘", "船", "。"]),
        ("港口有412艘", ["港", "口", "有", "412", "艘"]),
        ("a\n\n b\t“c”", ["a", "\n", "\n", "b", "“", "c", "”"]),
        ("snake_case e2e café", ["snake_case", "e2e", "café"]),
    ],
)
def test_words_are_cut_at_their_boundaries(text: str, tokens: list[str]) -> None:
    assert cut(text, kind="word") == tokens


def test_words_keep_all_but_white_space(word: Vocabulary) -> None:
    for text in (*ENGLISH, *CHINESE):
        decoded = word.decode(word.encode_batch([text])[0])
        assert "".join(decoded.split()) == "".join(text.split())
        assert decoded.count("\n") == text.count("\n")


def test_the_frequent_words_become_entries(tmp_path: Path) -> None:
    report = train(tmp_path, {"en": ["b a c", "a b", "a d", "b e"]}, kind="word", size=4)
    assert report.size == 4
    tokenizer: Tokenizer = open_vocabulary(tmp_path / "vocabulary").tokenizer
    assert tokenizer.get_vocab() == {"<|endoftext|>": 0, "<|unknown|>": 1, "a": 2, "b": 3}


def texts_of(vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.decode([number]) for number in range(1, vocabulary.size)]
