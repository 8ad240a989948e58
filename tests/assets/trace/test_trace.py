from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assets.home import outputs_folder
from assets.trace.batch import step_sequences
from assets.trace.document import trace_document
from assets.trace.errors import TraceError
from assets.trace.report import document_report, step_report, text_report
from assets.trace.run import open_run
from assets.trace.step import seen_documents, step_samples
from tests.assets.trace.traced_models import TracedModel, doc_id, make_model

ENGLISH = [f"The {word} ran over the hill, {number} times." for number, word in enumerate(["fox", "dog", "cat"] * 5)]
CHINESE = [f"今天第{number}次去书店，买了一本书。" for number in range(12)]

WORLDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ranks": {"ranks": 2},
    "packed": {"samples": {"packing": "best_fit", "document_mask": True}},
    "phases": {"curriculum": [{"steps": 10, "context": 4}, {"steps": 10, "batch": 8, "weights": {"zh": 1}}]},
    "middle": {
        "samples": {"fill_in_the_middle": 0.8},
        "special_tokens": ["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"],
        "model": {"width": 16, "layers": 1, "heads": 2, "key_value_heads": 2, "feed_forward_width": 16, "context": 32},
    },
}


@pytest.fixture(params=list(WORLDS))
def model(request: pytest.FixtureRequest, tmp_path: Path) -> TracedModel:
    return make_model(tmp_path / "model", {"en": ENGLISH, "zh": CHINESE}, **WORLDS[request.param])


def test_forward_and_backward_agree_for_every_token(model: TracedModel) -> None:
    run = open_run(model.folder)
    forward: dict[str, Counter[int]] = {}
    for step in range(run.steps):
        for seen in seen_documents(step_samples(run, step)):
            forward.setdefault(seen.doc_id, Counter())[step] += seen.tokens
    everyone = [identity for texts in model.texts.values() for identity in texts]
    for identity in everyone:
        trace = trace_document(run, identity)
        assert {step.step: step.tokens for step in trace.steps} == forward.get(identity, Counter())
        assert trace.tokens == sum(forward.get(identity, Counter()).values())
        assert (trace.split == "validation") == (identity in (doc_id("en", 14), doc_id("zh", 11)))
    assert sum(1 for identity in everyone if forward.get(identity)) > 15


def test_the_tokens_of_a_step_are_the_documents_text(model: TracedModel) -> None:
    """Decoded, the stretches that are named are stretches of the text."""
    run = open_run(model.folder)
    for step in (0, 7, run.steps - 1):
        for sequence in step_sequences(run, step):
            text = [token for token in sequence.targets if token.kind == "text"]
            assert len(text) + sum(token.kind == "end" for token in sequence.targets) == sum(
                span.length for span in sequence.trace.spans
            )
            for span in sequence.trace.spans:
                ids = model.vocabulary.encode_batch([model.texts[sequence.trace.dump][span.doc_id]])[0]
                named = [*ids, model.vocabulary.end_of_document][span.offset : span.offset + span.length]
                assert Counter(named) <= Counter(token.id for token in sequence.targets)


@pytest.mark.parametrize("shared", ["sequence_ranks", "tensor_ranks"])
def test_ranks_share_sequences(tmp_path: Path, shared: str) -> None:
    parallel = {"micro_batch": 2, shared: 2}
    model = make_model(tmp_path / "model", {"en": ENGLISH, "zh": CHINESE}, ranks=4, batch=8, parallel=parallel)
    run = open_run(model.folder)
    assert [sample.rank for sample in step_samples(run, 3)] == [0, 0, 2, 2, 0, 0, 2, 2]
    first, second, third, last = (step_samples(run, 3, rank=rank) for rank in range(4))
    assert first == second != third == last
    assert [sample.rank for sample in first + last] == [0] * 4 + [2] * 4


def test_ranks_share_a_step(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", {"en": ENGLISH, "zh": CHINESE}, ranks=2, batch=8)
    run = open_run(model.folder)
    whole = step_samples(run, 3)
    assert [sample.rank for sample in whole] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert step_samples(run, 3, rank=0) + step_samples(run, 3, rank=1) == sorted(whole, key=lambda sample: sample.rank)
    with pytest.raises(TraceError, match="rank 2 is none of the run's, 0 to 1"):
        step_samples(run, 3, rank=2)
    with pytest.raises(TraceError, match="steps 0 to 19; there is no step 20"):
        step_samples(run, 20)


def test_a_report_has_text_file_and_licence(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", {"en": ENGLISH, "zh": CHINESE})
    run = open_run(model.folder)
    report = step_report(run, 0)
    assert sum(seen.tokens for seen, _ in report.documents) == 4 * 8
    for seen, document in report.documents:
        assert document.text == model.texts[seen.dump][seen.doc_id]
        assert (document.path, document.licence) == (f"{seen.dump}.txt", "public domain")
        assert document.url == "http://example.org/1"
        encoded = "".join(model.texts[seen.dump].values()).encode()
        assert encoded[document.byte_start : document.byte_end].decode() == document.text


def test_without_clean_text_tokens_give_the_text(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", {"zh": CHINESE})
    shutil.rmtree(outputs_folder("clean_text"))
    document = document_report(open_run(model.folder), doc_id("zh", 3)).document
    assert (document.text, document.path, document.licence) == (CHINESE[3], None, None)


def test_shards_are_found_in_another_place(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", {"zh": CHINESE})
    before = step_report(open_run(model.folder), 2)
    (folder,) = outputs_folder("token_shards", "zh").iterdir()
    folder.rename(folder.with_name("moved"))
    assert step_report(open_run(model.folder), 2) == before
    shutil.rmtree(folder.with_name("moved"))
    with pytest.raises(TraceError, match=r"token shards of 'zh' .* bring them back"):
        open_run(model.folder)


def test_what_cannot_be_traced(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", {"zh": CHINESE})
    with pytest.raises(TraceError, match=r"no document 12ab is in the token shards of zh"):
        trace_document(open_run(model.folder), "12ab")
    (model.folder / "report.json").unlink()
    with pytest.raises(TraceError, match=r"model holds no finished training: there is no report\.json in it"):
        open_run(model.folder)
    (model.folder / "run.json").unlink()
    with pytest.raises(TraceError, match=r"there is no run\.json in it"):
        open_run(model.folder)


def test_the_beginning_of_several_ids_is_no_document(tmp_path: Path) -> None:
    """Also where each split of each dump has one at most."""
    texts = [f"今天第{number}次去书店。" for number in range(18)]
    run = open_run(make_model(tmp_path / "model", {"zh": texts}).folder)
    trained, validated = doc_id("zh", 16), doc_id("zh", 17)
    with pytest.raises(TraceError, match=rf"several documents .*: {trained} of zh, {validated} of zh; write more"):
        trace_document(run, trained[:-1])
    assert trace_document(run, trained).split == "train"
    assert trace_document(run, validated).split == "validation"


def test_shards_on_object_storage_are_searched(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", {"zh": CHINESE}, samples={"shuffle_chunk_tokens": 40})
    (expected,) = text_report(open_run(model.folder), "第7次去书店", limit=5).places
    shutil.rmtree(outputs_folder("text_index", "zh"))
    record = json.loads((model.folder / "run.json").read_text())
    for source in record["data"]:
        source["folder"] = Path(source["folder"]).as_uri()
    (model.folder / "run.json").write_text(json.dumps(record | {"cache": str(tmp_path / "cache")}))
    (found,) = text_report(open_run(model.folder), "第7次去书店", limit=5).places
    assert (found.doc_id, found.steps) == (expected.doc_id, expected.steps)


def test_a_phrase_leads_to_documents_steps_and_bytes(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", {"en": ENGLISH, "zh": CHINESE})
    run = open_run(model.folder)
    report = text_report(run, "第7次去书店", limit=5)
    assert report.count == 1
    (place,) = report.places
    assert place.doc_id == doc_id("zh", 7)
    assert (place.left, place.match, place.right) == ("今天", "第7次去书店", "，买了一本书。")
    assert CHINESE[7].encode()[place.byte_start :].startswith("第7次去书店".encode())
    seen = {step.step for step in trace_document(run, doc_id("zh", 7)).steps}
    assert set(place.steps) <= seen
    assert len(place.steps) > 0
    # The last document of each dump is for validation, which nobody learned from.
    assert text_report(run, "第11次", limit=5).count == 0
    assert text_report(run, "ran over the hill", limit=3).count == 14
    assert len(text_report(run, "ran over the hill", limit=3).places) == 3


def test_a_phrase_that_nobody_wrote_leads_to_its_parts(tmp_path: Path) -> None:
    run = open_run(make_model(tmp_path / "model", {"en": ENGLISH, "zh": CHINESE}).folder)
    report = text_report(run, "The fox 买了一本书 over the moon", limit=5)
    assert report.count == 0
    assert [match.text for match in report.matches[:2]] == [" over the ", "The fox "]
    assert {match.text for match in report.matches} >= {"买了一本书"}
    assert [place.match for place in report.places] == [match.text for match in report.matches]


def test_a_step_that_was_left_out_has_taught_nothing(tmp_path: Path) -> None:
    """Here the fifth step, which is number 4 from 0."""
    texts = {"en": ENGLISH, "zh": CHINESE}
    whole = open_run(make_model(tmp_path / "whole", texts).folder)
    seen = step_samples(whole, 4)[0].spans[0].doc_id
    shutil.rmtree(tmp_path / "whole")
    run = open_run(make_model(tmp_path / "model", texts, skipped=[5]).folder)
    before, after = ({step.step for step in trace_document(one, seen).steps} for one in (whole, run))
    assert 4 in before
    assert after == before - {4}
    with pytest.raises(TraceError, match="has not learned from step 4: it was left out"):
        step_samples(run, 4)


def test_steps_after_the_weights_that_a_run_goes_on_from_have_taught_nothing(tmp_path: Path) -> None:
    """The first one exports its best weights, after 15 of 20 steps; two others go on."""
    texts = {"en": ENGLISH, "zh": CHINESE}
    first = make_model(tmp_path / "first", texts, best_step=15, skipped=[3])
    second = make_model(tmp_path / "second", texts, continue_from=first.folder)
    third = make_model(tmp_path / "third", texts, continue_from=second.folder, skipped=[2], best_step=18)
    run = open_run(third.folder)
    assert (run.steps_before, run.steps) == (40, 58)
    assert run.skipped == {2, 15, 16, 17, 18, 19, 41}
    everyone = [name for dump in third.texts.values() for name in dump]
    assert {step.step for name in everyone for step in trace_document(run, name).steps} == set(range(58)) - run.skipped
    with pytest.raises(TraceError, match=r"step 15: .* or it came after the weights that the next run began from"):
        step_samples(run, 15)
    # The first one's own later steps are none of its model's.
    assert open_run(first.folder).steps == 15


def test_a_run_that_goes_on_from_an_unfinished_one_cannot_be_traced(tmp_path: Path) -> None:
    texts = {"zh": CHINESE}
    first = make_model(tmp_path / "first", texts)
    second = make_model(tmp_path / "second", texts, continue_from=first.folder)
    (first.folder / "report.json").unlink()
    with pytest.raises(TraceError, match=r"first holds no finished training: there is no report\.json in it"):
        open_run(second.folder)
