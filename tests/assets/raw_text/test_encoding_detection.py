from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.encoding import byte_order_mark, detect, plain_codec
from tests.assets.raw_text.samples import CHINESE, ENGLISH, FRENCH, TRADITIONAL

KOREAN = "안녕하세요. 저는 한국어를 공부하고 있습니다. "
JAPANESE = "こんにちは。私は日本語を勉強しています。東京の天気は晴れです。"
OF_A_LANGUAGE = [
    ("ar", "اليوم الطقس جميل وذهبنا إلى النهر لصيد السمك. ", ["cp1256", "iso8859-6"]),
    ("cs", "Příliš žluťoučký kůň úpěl ďábelské ódy. Byl to krásný den, šli jsme k řece. ", ["cp1250", "iso8859-2"]),
    ("el", "Σήμερα ο καιρός είναι καλός και πήγαμε στο ποτάμι. Ήταν Άνοιξη. ", ["cp1253", "iso8859-7"]),
    ("he", "שלום עולם, היום יום יפה ואנחנו הולכים לנהר. ", ["cp1255"]),
    ("hu", "Árvíztűrő tükörfúrógép. Szép nap volt, és a folyóhoz mentünk. ", ["cp1250", "iso8859-2"]),
    ("ja", JAPANESE, ["cp932", "euc_jp"]),
    ("ja", "東京大学", ["cp932", "euc_jp"]),
    ("ko", KOREAN, ["cp949"]),
    ("ko", "서울", ["cp949"]),
    ("pl", "Zażółć gęślą jaźń. Był to piękny dzień, żeby iść nad rzekę. ", ["cp1250", "iso8859-2"]),
    ("ru", "Сегодня хорошая погода, и мы пошли к реке. ", ["cp1251", "koi8-r", "cp866", "iso8859-5"]),
    ("th", "วันนี้อากาศดีและเราไปที่แม่น้ำเพื่อตกปลา ", ["cp874"]),
    ("tr", "Bugün hava çok güzel, şimdi nehre gidip balık tutacağız. İstanbul'da yağmur yağıyor. ", ["cp1254"]),
    ("uk", "Сьогодні гарна погода, і ми пішли до річки. Їжак. ", ["cp1251", "koi8-u"]),
]

READABLE = [
    (CHINESE, "utf-8"),
    (CHINESE, "gb18030"),
    (CHINESE, "utf-16-le"),
    (CHINESE, "utf-16-be"),
    (TRADITIONAL, "utf-8"),
    (TRADITIONAL, "big5"),
    (TRADITIONAL, "gb18030"),
    (TRADITIONAL, "utf-16-le"),
    (TRADITIONAL, "utf-16-be"),
    (FRENCH, "utf-8"),
    (FRENCH, "cp1252"),
    (FRENCH, "utf-16-le"),
    (FRENCH, "utf-16-be"),
    (ENGLISH, "utf-8"),
    (ENGLISH, "cp1252"),
    (ENGLISH, "utf-16-le"),
    (ENGLISH, "utf-16-be"),
]


@pytest.mark.parametrize(("text", "encoding"), READABLE)
def test_text_is_known_by_its_bytes(text: str, encoding: str) -> None:
    assert detect(text.encode(encoding)) == encoding


@pytest.mark.parametrize(("text", "encoding"), READABLE)
def test_wherever_the_sample_is_cut(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    first = next(index for index, character in enumerate(text) if not character.isascii())
    for length in range(len(text[: first + 1].encode(encoding)) + 60, len(data)):
        assert detect(data[:length]) == encoding, length


@pytest.mark.parametrize(("text", "encoding"), READABLE)
def test_wherever_the_sample_begins(text: str, encoding: str) -> None:
    for start in range(len(text) - 60):
        piece = text[start:]
        if encoding.startswith("utf-16") or not piece.isascii():
            assert detect(piece.encode(encoding)) == encoding, piece


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_mark_says_it(mark: bytes, encoding: str) -> None:
    for text in (CHINESE, ENGLISH, "a"):
        assert detect(mark + text.encode(encoding)) == encoding
    assert byte_order_mark(mark + "a".encode(encoding)) == (encoding, len(mark))


@pytest.mark.parametrize("head", [b"", b"\xef\xbb", b"\xff", b"a\xff\xfe"])
def test_what_is_no_mark(head: bytes) -> None:
    assert byte_order_mark(head) is None


def test_microsofts_big5_and_hong_kongs() -> None:
    assert detect((TRADITIONAL + "價錢是五十€。").encode("cp950")) == "cp950"
    assert detect((TRADITIONAL + "佢哋嘅嘢喺邊度？").encode("big5hkscs")) == "big5hkscs"


def test_four_bytes_of_gb18030() -> None:
    assert detect((CHINESE + "生僻字：㐀𠀀，€。").encode("gb18030")) == "gb18030"


def test_ascii_says_nothing() -> None:
    assert detect(b"") is None
    assert detect(b"plain words\r\n\t\x0c") is None


@settings(deadline=None)
@given(st.binary())
def test_no_bytes_are_too_strange(data: bytes) -> None:
    encoding = detect(data)
    assert encoding is None or codecs.lookup(encoding)


@pytest.mark.parametrize(
    "data", [bytes(range(256)) * 8, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(200)), bytes(100)]
)
def test_what_is_no_text_is_nothing(data: bytes) -> None:
    assert detect(data) is None


def test_a_few_damaged_bytes_leave_utf8_what_it_is() -> None:
    data = CHINESE.encode()
    assert detect(data[:30] + b"\xff" + data[30:]) == "utf-8"
    assert detect(data[:31] + data[32:]) == "utf-8"
    assert detect(data + b"\0") == "utf-8"
    assert detect((ENGLISH * 3).replace("“", "�").encode()) == "utf-8"


@pytest.mark.parametrize(
    "text", ["好的", "今天的风不大，他对孙女说", "The café door", FRENCH[:60], "It’s “quoted” here"]
)
@pytest.mark.parametrize("damage", [b"\xff", b"\xe5", b"\xe4\xbd"])
def test_a_damaged_byte_in_a_short_text_leaves_utf8_what_it_is(text: str, damage: bytes) -> None:
    assert detect(text.encode() + b" " + damage + b" \n") == "utf-8"


@pytest.mark.parametrize(
    "word",
    ["café", "naïve", "été", "façade, élan, Noël", "“quoted”", "it’s", "5 €", "Ærø", "¿Qué? ¡Sí!", "© 2026 · nº 1"],
)
def test_one_accent_in_a_western_text(word: str) -> None:
    text = f"The sign above the door says {word} in large letters. "
    assert detect(text.encode("cp1252")) == "cp1252"
    assert detect(text.encode()) == "utf-8"


@pytest.mark.parametrize(
    "text",
    ["Add ½ cup of sugar and stir for ten minutes, then bake.", "Fenster 2×3 m" * 5, "Between 5 ± 2 m² and ¥300 or ¼."],
)
def test_signs_in_a_western_text(text: str) -> None:
    assert detect(text.encode("cp1252")) == "cp1252"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("½ pint.", "cp1252"), ("Сегодня хорошая погода, и мы пошли к реке ловить рыбу. " * 4, "cp1251")],
)
def test_the_first_byte_that_is_not_ascii_stands_far_behind(text: str, encoding: str) -> None:
    assert detect(("It was a cold day. " * 6000 + text).encode(encoding)) == encoding


@pytest.mark.parametrize(
    "text",
    [
        "Water at 20°C, then 25°C.",
        "Heat it to 68°F now",
        "Grains 5µm wide",
        "Die Ärzte kamen",
        "El Ángel del puerto",
        "Dice: ¿Quien vive?",
        "¿Él viene hoy?",
        "by ©Acme Inc",
        "Étienne dort",
        "in·de·pendent·a",
        "the Brand®Tea",
        "Temperature 20°C, café",
    ],
)
def test_a_sign_or_accent_before_a_letter_is_no_chinese(text: str) -> None:
    assert detect(text.encode("cp1252")) == "cp1252"


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        ("床前明月光", ["gb18030", "big5"]),
        ("人之初性本善", ["gb18030", "big5"]),
        ("好的朋友", ["gb18030", "big5"]),
        ("一一、中中", ["big5"]),
        ("张,李,王,赵", ["gb18030"]),
        ("1年2月3日", ["gb18030", "big5"]),
        ("Windows系统 and Linux内核", ["gb18030"]),
        ("第1章 A long story begins here and goes on. 第2章", ["gb18030"]),
        ("今天 we went 回家 by 公車 and slept", ["big5"]),
    ],
)
def test_short_chinese_stays_chinese(text: str, encodings: list[str]) -> None:
    for encoding in encodings:
        assert detect(text.encode(encoding)) == encoding


@pytest.mark.parametrize(("language", "text", "encodings"), OF_A_LANGUAGE)
def test_the_language_chooses_where_the_bytes_leave_a_choice(language: str, text: str, encodings: list[str]) -> None:
    for encoding in encodings:
        for written in (text, text * 20, text.upper()):
            data = written.encode(encoding, "ignore")
            found = detect(data, language)
            assert found is not None
            assert data.decode(found) == data.decode(encoding), found


@pytest.mark.parametrize("language", [language for language, _, _ in OF_A_LANGUAGE] + ["zh", "zh-Hant", "en"])
def test_a_text_in_another_language_than_said(language: str) -> None:
    assert detect(CHINESE.encode("gb18030"), language) == "gb18030"
    assert detect(TRADITIONAL.encode("big5"), language) == "big5"
    assert detect(CHINESE.encode(), language) == "utf-8"
    for text in (FRENCH, "Water at 20°C, then 25°C."):
        assert detect(text.encode("cp1252"), language) == "cp1252"


@pytest.mark.parametrize(
    ("language", "text"), [(language, text) for language, text, _ in OF_A_LANGUAGE] + [("th", "รสมยหล")]
)
def test_a_damaged_byte_in_a_text_of_a_language_leaves_utf8_what_it_is(language: str, text: str) -> None:
    assert detect(text.encode() + b" \xe5 \n", language) == "utf-8"


def test_korean_and_japanese_are_told_from_chinese_by_hangul_and_kana() -> None:
    for language in (None, "en", "zh"):
        assert detect((KOREAN * 20).encode("euc_kr"), language) == "cp949"
        assert detect(KOREAN.encode("euc_kr"), language) == "cp949"
        assert detect(JAPANESE.encode("euc_jp"), language) == "euc_jp"
        assert detect(JAPANESE.encode("cp932"), language) == "cp932"


def test_a_byte_that_windows_does_not_have_makes_it_latin() -> None:
    assert detect(FRENCH.replace("«", "\x81").replace("»", "\x8d").encode("latin-1", "ignore")) == "latin-1"


@pytest.mark.parametrize(
    ("encoding", "head", "codec"),
    [
        ("UTF-8", b"a", "utf-8"),
        ("utf-8-sig", b"a", "utf-8"),
        ("utf-16", b"a\0", "utf-16-le"),
        ("utf-16", b"\xfe\xff\0a", "utf-16-be"),
        ("utf-16", b"\xff\xfea\0", "utf-16-le"),
        ("utf-32", b"\0\0\xfe\xff", "utf-32-be"),
        ("utf-32", b"", "utf-32-le"),
        ("utf-16-be", b"\xff\xfe", "utf-16-be"),
        ("GBK", b"\xef\xbb\xbf", "gbk"),
        ("Latin-1", b"", "iso8859-1"),
    ],
)
def test_an_encoding_set_by_the_user(encoding: str, head: bytes, codec: str) -> None:
    assert plain_codec(encoding, head) == codec
