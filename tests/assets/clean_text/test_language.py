from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.language import WHOLE_BYTES, identify

CHINESE = """
我们昨天在图书馆里看了一下午的书。
这家饭馆的菜又便宜又好吃，下次还要来。
请问去火车站应该坐几路公共汽车？
他虽然很忙，但是每天都坚持锻炼身体。
政府公布了今年第三季度的经济数据。
孩子们在院子里放风筝，笑声不断。
这本小说讲的是一个普通工人的一生。
昨晚的雨下得很大，路上全是积水。
科学家发现了一种新的深海鱼类。
她把钥匙忘在了办公室的桌子上。
明天的会议改到下午三点举行。
机器学习模型需要大量的训练数据。
""".strip().split("\n")
TRADITIONAL = """
我們昨天在圖書館裡看了一下午的書。
這家餐廳的菜又便宜又好吃，下次還要來。
請問去火車站應該搭幾號公車？
他雖然很忙，但是每天都堅持運動。
政府公布了今年第三季的經濟數據。
孩子們在院子裡放風箏，笑聲不斷。
這本小說講的是一個普通工人的一生。
昨晚的雨下得很大，路上全是積水。
科學家發現了一種新的深海魚類。
她把鑰匙忘在了辦公室的桌子上。
明天的會議改到下午三點舉行。
機器學習模型需要大量的訓練資料。
""".strip().split("\n")
CANTONESE = """
我哋尋日喺圖書館睇咗成個下晝嘅書。
呢間餐廳啲嘢又平又好食，下次仲要嚟。
唔該，去火車站應該搭幾號巴士呀？
佢雖然好忙，但係日日都堅持做運動。
你食咗飯未呀？不如一齊去飲茶啦。
啲細路喺公園度玩到唔願走。
琴晚落咗好大雨，條街浸晒水，行都行唔到。
佢將條鎖匙漏咗喺公司張枱度。
聽日個會改咗喺下晝三點開。
你做乜嘢成日都唔覆我電話㗎？
呢件衫幾多錢呀？可唔可以平啲？
我真係唔知佢哋喺邊度識嘅。
""".strip().split("\n")
JAPANESE = """
昨日は図書館で午後ずっと本を読んでいました。
この店の料理は安くておいしいので、また来ます。
すみません、駅へ行くには何番のバスに乗ればいいですか。
彼は忙しいのに、毎日運動を続けている。
政府は今年第三四半期の経済統計を発表した。
子どもたちは庭で凧を揚げて、笑い声が絶えない。
この小説は普通の労働者の一生を描いている。
昨夜は大雨で、道路が水浸しになった。
科学者が新種の深海魚を発見した。
彼女は鍵を会社の机の上に忘れてきた。
明日の会議は午後三時に変更された。
機械学習モデルには大量の訓練データが必要です。
""".strip().split("\n")
ENGLISH = """
Yesterday we spent the whole afternoon reading in the library.
The government has published the economic figures for the third quarter.
She left her keys on the desk in the office, as she often does.
A machine learning model needs a great deal of training data.
""".strip().split("\n")
GERMAN = """
Gestern haben wir den ganzen Nachmittag in der Bibliothek gelesen.
Die Regierung hat die Wirtschaftszahlen des dritten Quartals veröffentlicht.
Sie hat ihre Schlüssel auf dem Schreibtisch im Büro liegen lassen.
Ein Modell für maschinelles Lernen braucht sehr viele Trainingsdaten.
""".strip().split("\n")


def identified(*texts: str) -> tuple[list[str], list[float]]:
    result = identify(pa.array(list(texts), pa.string()))
    return result.languages.to_pylist(), result.scores.tolist()


@pytest.mark.parametrize(
    ("code", "sentences"),
    [("zh", CHINESE), ("zh", TRADITIONAL), ("yue", CANTONESE), ("ja", JAPANESE), ("en", ENGLISH), ("de", GERMAN)],
)
def test_every_sentence_is_told(code: str, sentences: list[str]) -> None:
    languages, scores = identified(*sentences)
    assert languages == [code] * len(sentences)
    assert min(scores) > 0.5
    (language,), (score,) = identified("\n".join(sentences * 20))
    assert language == code
    assert score > 0.9


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("안녕하세요, 오늘은 날씨가 좋네요.", "ko"),
        ("大韓民國의 首都는 서울特別市이다.", "ko"),
        ("Привет, как у тебя сегодня дела?", "ru"),
        ("THE GOVERNMENT HAS PUBLISHED THE FIGURES FOR THE THIRD QUARTER", "en"),
        ("カタカナダケデス", "ja"),
        ("鲜の每日，新鲜水果当天送到家门口。", "zh"),
        ("用GPU训练大语言模型需要很长时间", "zh"),
        ("今天下午在Starbucks喝coffee，很开心。", "zh"),
        ("中华人民共和国", "zh"),
    ],
)
def test_scripts_and_short_texts(text: str, code: str) -> None:
    assert identified(text)[0] == [code]


def test_the_score_tells_of_a_second_language() -> None:
    chinese, english, german = "".join(CHINESE), " ".join(ENGLISH), " ".join(GERMAN)
    languages, scores = identified(
        chinese,
        chinese + english,
        f"{chinese * 4}\n{english * 4}",
        f"{english * 8}\n{german * 8}",
        "\n".join(f"{a} {b}" for a, b in zip(CHINESE, ENGLISH * 3, strict=True)),
    )
    assert languages[0] == "zh"
    assert scores[0] > 0.95
    assert all(0.3 < score < 0.8 for score in scores[1:])


def test_a_word_of_another_script_is_no_second_language() -> None:
    (plain, mixed), scores = identified("".join(CHINESE), "".join(CHINESE) + " PyTorch 2.13")
    assert plain == mixed == "zh"
    assert min(scores) > 0.95


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\0", "😀👩‍👩‍👧", "12345 67.8 %", "——！？……", "\ufffd\uffff", "\n" * 2000]
)
def test_no_letters_no_language(text: str) -> None:
    assert identified(text) == (["und"], [0.0])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text() | st.text("中の한aÀ😀\0\n ", min_size=100, max_size=1000), max_size=5), st.integers(0, 2))
def test_any_text_alike_in_any_batch(texts: list[str], offset: int) -> None:
    array = pa.array(["", "x", *texts], pa.string())[offset:]
    together = identify(array)
    assert len(together.languages) == len(together.scores) == len(array)
    for index, text in enumerate(array.to_pylist()):
        alone = identify(pa.array([text], pa.string()))
        assert alone.languages[0] == together.languages[index]
        assert alone.scores[0] == together.scores[index]
        assert 0 <= alone.scores[0] <= 1


@pytest.mark.parametrize("shift", range(4))
def test_pieces_do_not_cut_characters(shift: int) -> None:
    text = "x" * shift + "汉字𠮷語" * WHOLE_BYTES
    assert identified(text)[0] == ["zh"]


def test_a_long_text_and_large_strings() -> None:
    text = "".join(CHINESE) * 40_000
    result = identify(pa.array([text, ENGLISH[0]], pa.large_string()))
    assert result.languages.to_pylist() == ["zh", "en"]


def test_no_texts() -> None:
    assert identified() == ([], [])
