from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.clean_text.masking import KINDS, PLACEHOLDERS, fold, mask
from assets.clean_text.normalisation import normalise

# What patterns are about, whole and in pieces that may join to something new; two spaces keep them apart.
PIECES = [
    *re.split(
        r"  |\n",
        """\
bob@example.com  @  a.b  .com  13812345678  1381234  5678  +86  +44 20 7946 0958  010-  62345678  手机：  电话  phone
4111 1111 1111 1111  4111111111111111  1111  11010119900307001X  110101199003070134  身份证  93.184.216.34  .1.
2606:4700::1111  AKIAABCDEFGH234567AB  key=  password:  Abc12345!x  3f5a9c0d1e2b4f6a8c7d  -----BEGIN PRIVATE KEY-----
-----END PRIVATE KEY-----  <EMAIL>  <PHONE>  <SECRET>  <  >  １３８  ＠  －  -  ,  /  (  )  é  中文  a  7
01 23 45 67 89  13.7.1.4  Phone Number:""",
    ),
    " ",
    "\n",
    "tel ",
    "x" * 40,
]
messes = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def array(*texts: str) -> pa.StringArray:
    return pa.array(list(texts), pa.string())


@settings(max_examples=500, deadline=None)
@given(messes, st.sets(st.sampled_from(list(KINDS)), min_size=1))
@example("13812345678 62345678 tel ", set(KINDS))
@example("4111111111111111-110101199003070134", set(KINDS))
@example("token: bob@example.comkey=13812345678", set(KINDS))
@example("93.184.216.34 01 23 45 67 89 93.184.216.34", set(KINDS))
@example("电话 very.long.account@example.com 62345678", set(KINDS))
def test_masking_again_changes_nothing(text: str, kinds: set[str]) -> None:
    once = mask(array(text), kinds=kinds)
    again = mask(once.texts, kinds=kinds)
    assert again.texts.equals(once.texts)
    assert not any(counts.any() for counts in again.counts.values())


@settings(max_examples=200, deadline=None)
@given(messes)
def test_placeholders_and_counts_agree(text: str) -> None:
    result = mask(array(text))
    (after,) = result.texts.to_pylist()
    for kind, placeholder in PLACEHOLDERS.items():
        assert after.count(placeholder) - text.count(placeholder) == result.counts[kind][0]
    added = sum(len(PLACEHOLDERS[kind]) * int(count[0]) for kind, count in result.counts.items())
    removed = sum(int(size[0]) for size in result.bytes.values())
    assert len(after.encode()) == len(text.encode()) - removed + added
    # What is left is what was there.
    kept = re.split("|".join(map(re.escape, PLACEHOLDERS.values())), after)
    assert re.fullmatch("(?s:.*)".join(map(re.escape, kept)), text)


@settings(max_examples=200, deadline=None)
@given(st.lists(messes, max_size=6))
def test_a_text_is_masked_alike_in_any_batch(texts: list[str]) -> None:
    together = mask(array("", *texts)[1:])
    alone = [mask(array(text)) for text in texts]
    assert together.texts.to_pylist() == [one.texts[0].as_py() for one in alone]
    for kind in KINDS:
        assert together.counts[kind].tolist() == [int(one.counts[kind][0]) for one in alone]


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="@＠:=：＝.．-", exclude_categories=["Cs", "Nd"])))
def test_texts_without_finds_are_the_same_object_of_bytes(text: str) -> None:
    texts = array(text, "Prose. 一段文字。")
    assert mask(texts).texts.equals(texts)


def test_counts_and_bytes() -> None:
    result = mask(array("nothing", "邮箱：a@b.com，c@d.com 手机１３８１２３４５６７８", ""), kinds=["phone", "email"])
    assert result.texts.to_pylist() == ["nothing", "邮箱：<EMAIL>，<EMAIL> 手机<PHONE>", ""]
    assert set(result.counts) == {"email", "phone"}
    assert {kind: counts.tolist() for kind, counts in result.counts.items()} == {"email": [0, 2, 0], "phone": [0, 1, 0]}
    assert {kind: sizes.tolist() for kind, sizes in result.bytes.items()} == {"email": [0, 14, 0], "phone": [0, 33, 0]}
    assert all(counts.dtype == np.int32 for counts in result.counts.values())


def test_only_the_kinds_asked_for() -> None:
    text = "a@b.com 13812345678"
    assert mask(array(text), kinds=["phone"]).texts.to_pylist() == ["a@b.com <PHONE>"]
    assert mask(array(text), kinds=[]).texts.to_pylist() == [text]
    with pytest.raises(ValueError, match="unknown kind 'e-mail', did you mean 'email'"):
        mask(array(text), kinds=["e-mail"])


def test_overlapping_finds_are_one() -> None:
    result = mask(array("password=bob1@example.com;"))
    assert result.texts.to_pylist() == ["password=<EMAIL>;"]
    assert sum(int(counts[0]) for counts in result.counts.values()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_placeholders_survive_normalisation(kind: str) -> None:
    text = f"前{PLACEHOLDERS[kind]}后 {PLACEHOLDERS[kind]}"
    assert normalise(text) == text
    assert mask(array(text)).texts.to_pylist() == [text]


def test_no_texts() -> None:
    assert len(mask(array()).texts) == 0


@pytest.mark.parametrize("distance", [0, 30, 100, 5_000])
def test_finds_at_any_distance_from_each_other(distance: int) -> None:
    gap = " " + "word " * (distance // 5)
    text = f"x@y.com{gap}93.184.216.34{gap}13812345678{gap}x@y.com{gap}"
    assert mask(array(text)).texts.to_pylist() == [f"<EMAIL>{gap}<IP_ADDRESS>{gap}<PHONE>{gap}<EMAIL>{gap}"]


@settings(deadline=None)
@given(st.text())
def test_folding_keeps_the_length(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(text).isascii() or not text.isascii()


UNITS = [
    *re.split(
        r"  |\n",
        """\
1  1-  (1  +1  0  110101  @  a@  a.  a@b.  @a  a.b@  -  -a  1.  1.1.1.1.  2000:  ::  key=  key=a1  key=abcd1234  key=a:
tel:1  电话  身份证  身份证1  -----BEGIN PRIVATE KEY-----  -----BEGIN  eyJ  eyJaaaaaaaaaaa.  AKIA  sk-  xoxb-1  <PHONE>
１  ：""",
    ),
    "1 ",
    "4111 ",
    "+1 ",
    "tel ",
    "key = ",
    "A" * 64 + "\n",
]


# A pattern that is not linear takes minutes for some of these.
@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    head = "-----BEGIN PRIVATE KEY-----\n"
    result = mask(array(f"{head}{text} bob@example.com"))
    assert result.counts["email"][0] >= 1 or unit.endswith("@")
