from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cleaned_dumps import CHINESE, ENGLISH, WriteRawText, clean_dumps, filter_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.clean_text.decisions import decide
from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import filter_documents
from assets.clean_text.ledger import LEDGER
from assets.clean_text.ledger_report import StoredDump
from assets.clean_text.policy import Policy, load_policy
from assets.clean_text.what_if import WhatIf, what_if


def changed(dumps: Sequence[StoredDump], **thresholds: float | None) -> dict[str, Policy]:
    policies = {dump.name: dump.policy for dump in dumps}
    changes = {name.replace("__", "."): value for name, value in thresholds.items()}
    return {name: policy.changed(changes) for name, policy in policies.items() if policy}


def numbers(result: WhatIf) -> dict[tuple[str | None, str | None], tuple[int, ...]]:
    return {
        (group.source, group.language): (group.kept_now, group.kept_then, group.newly_kept, group.newly_dropped)
        for group in result.groups
    }


def test_the_same_policy_changes_nothing(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text)
    result = what_if(dumps, changed(dumps))
    assert numbers(result) == {
        (None, None): (6, 6, 0, 0),
        ("reviews", "zh"): (2, 2, 0, 0),
        ("tales", "en"): (4, 4, 0, 0),
    }
    assert all((rule.first_now, rule.would_now) == (rule.first_then, rule.would_then) for rule in result.rules)
    assert all(group.bytes_now == group.bytes_then for group in result.groups)
    assert not (result.newly_kept or result.newly_dropped or result.warnings or result.groups_of_copies)


def test_what_another_limit_keeps_and_drops(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text)
    result = what_if(dumps, changed(dumps, too_short__en=5, too_short__zh=22, wrong_script_han=None))
    assert numbers(result) == {
        (None, None): (6, 7, 2, 1),
        ("reviews", "zh"): (2, 2, 1, 1),
        ("tales", "en"): (4, 5, 1, 0),
    }
    kept = {(example.rule, example.excerpt): example for example in result.newly_kept}
    assert set(kept) == {("too_short", "Nobody came."), ("wrong_script_han", CHINESE[3])}
    short = kept["too_short", "Nobody came."]
    assert (short.value, short.threshold, short.signal) == (11.0, 16.0, "visible_characters")
    (dropped,) = result.newly_dropped
    assert (dropped.rule, dropped.value, dropped.threshold, dropped.excerpt) == ("too_short", 21.0, 22.0, CHINESE[0])
    rules = {rule.rule: rule for rule in result.rules}
    too_short, han = rules["too_short"], rules["wrong_script_han"]
    assert (too_short.newly_kept, too_short.newly_dropped, too_short.first_now, too_short.first_then) == (1, 1, 2, 2)
    assert (han.newly_kept, han.would_now, han.would_then) == (1, 1, 0)
    assert (rules["unreadable"].first_now, rules["unreadable"].first_then) == (1, 1)
    sizes = {group.source: group.bytes_then - group.bytes_now for group in result.groups}
    assert sizes["reviews"] == len(CHINESE[3]) - len(CHINESE[0].encode())
    assert sizes["tales"] == len("Nobody came.")


def test_copies_of_a_newly_dropped_document_may_return(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    near = "The keeper of the old mill counted nine lanterns before the evening bell rang and wrote it down in the book"
    texts = {
        "one": ("en", [ENGLISH[0], ENGLISH[1]]),
        "two": ("en", [ENGLISH[0].upper(), ENGLISH[0], near + " again", near, near]),
    }
    dumps = clean_dumps(tmp_path, write_raw_text, texts)
    # Capitals are a copy, but a limit on capitals drops them whether or not their copy is kept.
    other = Policy.parse(
        {
            "name": "other",
            "rules": [
                {"name": "capitals", "signal": "capital_share", "at_most": 0.5},
                {"name": "long", "signal": "characters", "at_most": 90},
            ],
        },
        origin="test",
    )
    result = what_if(dumps, {"one": other, "two": other})
    ledger = pq.read_table(dumps[1].clean / "ledger.parquet").to_pylist()
    assert [row["rule"] for row in ledger] == [
        *("exact_duplicate", "exact_duplicate", None, "near_duplicate", "exact_duplicate")
    ]
    whole = result.groups[0]
    assert (whole.kept_now, whole.kept_then, whole.newly_dropped, whole.may_return) == (3, 0, 3, 0)
    roomy = other.model_copy(update={"rules": [rule for rule in other.rules if rule.name == "capitals"]})
    strict = Policy.parse(
        {"name": "strict", "rules": [{"name": "many", "signal": "words", "at_least": 99}]}, origin="test"
    )
    result = what_if(dumps, {"one": strict, "two": roomy})
    assert [(group.source, group.kept_then, group.may_return) for group in result.groups] == [
        (None, 1, 1),
        ("one", 0, 0),
        ("two", 1, 1),
    ], "the exact copy in small letters may return; the near copy's original stays"
    assert result.groups_of_copies == 1
    assert result.policy == "strict, other"
    short = {"name": "short", "rules": [{"name": "long", "signal": "characters", "at_most": len(near)}]}
    result = what_if(dumps, dict.fromkeys(("one", "two"), Policy.parse(short, origin="test")))
    assert (result.groups[0].newly_dropped, result.groups[0].may_return, result.groups_of_copies) == (1, 2, 1)


def test_what_no_rule_of_the_policy_dropped_stays_dropped(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text, licences=["MIT"])
    everything = {dump.name: Policy.parse({"name": "all"}, origin="test") for dump in dumps}
    result = what_if(dumps, everything)
    assert (result.groups[0].kept_now, result.groups[0].kept_then) == (0, 0)
    rules = {rule.rule: rule for rule in result.rules}
    assert (rules["licence"].first_then, rules["licence"].would_then) == (13, 13)
    assert rules["too_short"].would_then == 0


WORDS = ["mill", "12", "harbour", "--", "房间", "a", "keeper", "很好", "…"]
DOCUMENTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), max_size=12)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "too_short": st.sampled_from([None, 0, 9, 30]),
        "too_short.zh": st.sampled_from([None, 2, 12]),
        "few_letters": st.sampled_from([None, 0.2, 0.8]),
        "many_digits": st.sampled_from([None, 0.05]),
        "short_words.en": st.sampled_from([None, 4]),
        "wrong_script_latin": st.sampled_from([None, 0.95]),
    },
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(english=DOCUMENTS, chinese=DOCUMENTS, now=CHANGES, then=CHANGES)
def test_it_agrees_with_filtering_again(
    tmp_path_factory: pytest.TempPathFactory,
    write_raw_text: WriteRawText,
    english: list[str],
    chinese: list[str],
    now: dict[str, float | None],
    then: dict[str, float | None],
) -> None:
    base = tmp_path_factory.mktemp("property")
    texts = {"one": ("en", english), "two": ("zh", chinese)}
    dumps = clean_dumps(base, write_raw_text, texts, rules=now)
    other = filter_settings(base, rules=then)
    result = what_if(dumps, dict.fromkeys(texts, other.load_policy()))
    kept_now, rules = 0, {rule.rule: rule for rule in result.rules}
    again: dict[str, dict[str, Any]] = {}
    before: dict[str, dict[str, Any]] = {}
    for stored in dumps:
        out = base / "again" / stored.name
        out.mkdir(parents=True)
        assert stored.raw is not None
        filter_documents(stored.raw, out, dump=stored.name, settings=other)
        again |= {row["doc_id"]: row for row in pq.read_table(out / "decisions.parquet").to_pylist()}
        before |= {row["doc_id"]: row for row in pq.read_table(stored.clean / "ledger.parquet").to_pylist()}
        kept_now += sum(row["kept"] for row in before.values() if row["dump"] == stored.name)
    copies = {doc_id for doc_id, row in before.items() if row["duplicate_of"]}
    passing = {doc_id for doc_id, row in again.items() if row["kept"]} - copies
    if not before:
        assert not result.groups
        return
    whole = result.groups[0]
    assert (whole.kept_now, whole.kept_then) == (kept_now, len(passing))
    assert whole.newly_kept == len(passing - {doc_id for doc_id, row in before.items() if row["kept"]})
    assert whole.bytes_then == sum(again[doc_id]["clean_bytes"] for doc_id in passing)
    gone = {doc_id for doc_id, row in before.items() if row["kept"]} - passing

    def original(doc_id: str) -> str:
        return original(found) if (found := before[doc_id]["duplicate_of"]) else doc_id

    returning = [doc_id for doc_id in copies if original(doc_id) in gone and again[doc_id]["kept"]]
    assert whole.may_return == len(returning)
    for rule in {failure["rule"] for row in again.values() for failure in row["failures"]}:
        failing = [failure for row in again.values() for failure in row["failures"] if failure["rule"] == rule]
        assert rules[rule].would_then == len(failing)
        assert rules[rule].first_then == sum(row["rule"] == rule for row in again.values())
    for example in result.newly_dropped:
        row = again[example.doc_id]
        assert (example.rule, example.value, example.threshold) == (row["rule"], row["value"], row["threshold"])


def test_signals_that_were_not_measured_are_named(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text, {"one": ("en", ENGLISH)}, signals="needed")
    mine = Policy.parse(
        {"name": "mine", "rules": [{"name": "few", "signal": "stop_words", "at_least": 2}]}, origin="test"
    )
    with pytest.raises(CleanTextError, match=r"'mine' asks for .* of 'one': stop_words\. .*setting 'signals: all'"):
        what_if(dumps, {"one": mine})
    off = mine.changed({"few": None})
    assert what_if(dumps, {"one": off}).groups[0].newly_dropped == 0, "a rule that is off asks for nothing"


def test_costly_signals_need_a_rule_that_asks_for_them(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text, {"one": ("en", ENGLISH)})
    mine = Policy.parse(
        {"name": "mine", "rules": [{"name": "bad", "signal": "quality", "at_least": 0.5}]}, origin="test"
    )
    with pytest.raises(CleanTextError, match="quality is costly and measured only where a rule asks for it"):
        what_if(dumps, {"one": mine})


def test_signals_before_edits_are_those_after_where_nothing_was_edited(
    tmp_path: Path, write_raw_text: WriteRawText
) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text)
    gopher = load_policy("gopher")
    result = what_if(dumps, {dump.name: gopher for dump in dumps})
    assert result.groups[0].kept_then == 0, "all have fewer than 50 words"
    (warning,) = result.warnings
    assert warning.startswith("tales: signals before edits were not measured; 1 documents that were edited")


def test_other_line_rules_are_a_warning(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text, {"one": ("en", ENGLISH)})
    lines = {"name": "mine", "lines": [{"name": "cookies", "drop": {"contains": ["cookies"]}}]}
    result = what_if(dumps, {"one": Policy.parse(lines, origin="test")})
    assert [warning.partition(",")[0] for warning in result.warnings] == ["line rules differ (cookies)"]


def test_signals_of_other_documents_are_refused(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text)
    assert dumps[0].filtered is not None
    path = dumps[0].filtered / "signals-00000.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(CleanTextError, match=r"signals-00000\.parquet and .* tell of different documents"):
        what_if(dumps, changed(dumps))
    with pytest.raises(CleanTextError, match="signals of 'tales' are gone"):
        what_if([StoredDump("tales", dumps[0].clean)], {"tales": load_policy("gopher")})


def write_synthetic(base: Path, documents: int, policy: Policy) -> StoredDump:
    """A dump of random signals with the ledger that they lead to; every tenth kept document has a copy."""
    random = np.random.default_rng(0)
    for name in ("clean", "filtered"):
        (base / name).mkdir(parents=True)
    ids = pa.array([hashlib.md5(b"%d" % row).hexdigest() for row in range(documents)])
    languages = pa.array(random.choice(["en", "zh"], documents))
    columns: dict[str, Any] = {"doc_id": ids, "declared_language": languages}
    columns |= {name: random.random(documents) for name in ("letter_share", "digit_share", "latin_share")}
    columns["visible_characters"] = random.integers(0, 2000, documents)
    signals = pa.table(columns)
    pq.write_table(signals, base / "filtered" / "signals-00000.parquet", row_group_size=1 << 16)
    decided = decide(signals, policy.rules)
    kept = decided.rule.is_null().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(kept)
    copies, originals = rows[9::10], rows[8::10][: len(rows[9::10])]
    rule = decided.rule.to_pylist()
    duplicate_of: list[str | None] = [None] * documents
    for copy, original in zip(copies.tolist(), originals.tolist(), strict=True):
        kept[copy], rule[copy], duplicate_of[copy] = False, "exact_duplicate", ids[original].as_py()
    size = random.integers(10, 5000, documents)
    row = {
        **{name: pa.array([base.name] * documents) for name in ("dump", "source", "path")},
        **{name: pa.array(size) for name in ("byte_start", "byte_end", "characters", "raw_bytes", "clean_bytes")},
        "doc_id": ids,
        "language": languages,
        "kept": kept,
        "rule": pa.array(rule, pa.string()),
        "value": decided.value,
        "threshold": decided.threshold,
        "failures": decided.failures,
        "duplicate_of": pa.array(duplicate_of, pa.string()),
    }
    absent = {name: pa.nulls(documents, LEDGER.field(name).type) for name in LEDGER.names if name not in row}
    table = pa.table({**row, **absent}).select(LEDGER.names).cast(LEDGER)
    pq.write_table(table, base / "clean" / "ledger.parquet", row_group_size=1 << 16)
    return StoredDump(base.name, base / "clean", base / "filtered", None, policy)


RULES = [
    {"name": "too_short", "signal": "visible_characters", "at_least": {"en": 400, "zh": 200}},
    {"name": "few_letters", "signal": "letter_share", "at_least": 0.2},
    {"name": "many_digits", "signal": "digit_share", "at_most": {"*": 0.8, "zh": 0.9}},
    {"name": "foreign", "signal": "latin_share", "at_least": {"en": 0.1}},
]


@pytest.mark.parametrize(
    ("documents", "memory_limit"),
    [(20_000, "512MB"), pytest.param(200_000, "64MB", marks=pytest.mark.slow)],
)
def test_many_documents_in_little_memory(tmp_path: Path, documents: int, memory_limit: str) -> None:
    policy = Policy.parse({"name": "synthetic", "rules": RULES}, origin="test")
    dumps = [write_synthetic(tmp_path / "a", documents, policy)]
    other = policy.changed({"too_short": 300, "few_letters.zh": 0.3, "many_digits": None})
    result = what_if(dumps, {"a": other}, memory_limit=memory_limit)
    ledger = pq.read_table(dumps[0].clean / "ledger.parquet", columns=["doc_id", "kept", "duplicate_of", "clean_bytes"])
    signals = pq.read_table(tmp_path / "a" / "filtered" / "signals-00000.parquet")
    passes = decide(signals, other.rules).rule.is_null().to_numpy(zero_copy_only=False)
    kept = ledger["kept"].to_numpy()
    is_copy = ledger["duplicate_of"].is_valid().to_numpy()
    size = ledger["clean_bytes"].to_numpy()
    then = passes & ~is_copy
    whole = result.groups[0]
    assert (whole.documents, whole.kept_now, whole.kept_then) == (documents, kept.sum(), then.sum())
    assert (whole.newly_kept, whole.newly_dropped) == ((then & ~kept).sum(), (kept & ~then).sum())
    assert (whole.bytes_now, whole.bytes_then) == (size[kept].sum(), size[then].sum())
    gone = {doc_id for doc_id, lost in zip(ledger["doc_id"].to_pylist(), kept & ~then, strict=True) if lost}
    returning = [
        original
        for original, fit in zip(ledger["duplicate_of"].to_pylist(), passes, strict=True)
        if fit and original in gone
    ]
    assert (whole.may_return, result.groups_of_copies) == (len(returning), len(set(returning)))
    assert whole.may_return > 0
    assert [len(result.newly_kept), len(result.newly_dropped)] == [5, 5]


def test_too_little_memory_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    policy = Policy.parse({"name": "synthetic", "rules": RULES}, origin="test")
    dump = write_synthetic(tmp_path / "a", 20_000, policy)
    with pytest.raises(CleanTextError, match="allow more memory"):
        what_if([dump], {"a": policy}, memory_limit="1MB")
