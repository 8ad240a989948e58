from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.command_line import app
from tests.assets.trace.traced_models import doc_id, make_model

ENGLISH = [f"The <b>{word}</b> ran over the hill, [{number}] times." for number, word in enumerate(["fox", "dog"] * 6)]
CHINESE = [f"今天第{number}次去书店，买了一本书。" for number in range(12)]


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(make_model(tmp_path / "model", {"en": ENGLISH, "zh": CHINESE}).folder)


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), terminal_width=200)
    assert result.exit_code == code, result.output
    return result.output


def test_a_step(model: str) -> None:
    shown = run("trace", model, "--step", "3", "--limit", "50")
    found = json.loads(run("trace", model, "--step", "3", "--json"))
    assert "step 3 of 20: 4 sequences, 32 tokens of" in shown
    assert sum(seen["tokens"] for seen, _ in found["documents"]) == 32
    for seen, document in found["documents"]:
        assert seen["doc_id"] in shown
        assert document["licence"] == "public domain"
    only = json.loads(run("trace", model, "--step", "3", "--rank", "0", "--json"))
    assert only["samples"] == found["samples"]


def test_a_document(model: str) -> None:
    shown = run("trace", model, "--document", doc_id("zh", 4))
    found = json.loads(run("trace", model, "--document", doc_id("zh", 4), "--json"))
    assert CHINESE[4] in shown
    assert "zh: zh.txt, bytes" in shown
    assert f"seen by {len(found['trace']['steps'])} of 20 steps" in shown
    assert "in the validation split: no step saw it" in run("trace", model, "--document", doc_id("zh", 11))


def test_a_text(model: str) -> None:
    shown = run("trace", model, "--text", "买了一本书")
    assert "11 times in the training data" in shown
    assert "seen by step" in shown
    parts = run("trace", model, "--text", "买了一本小说")
    assert "nowhere in the training data as a whole" in parts
    assert "\nonce in the training data" in "\n" + run("trace", model, "--text", "今天第4次去书店")
    assert "11 times  '，买了一本'" in parts or "11 times  '买了一本'" in parts


@pytest.mark.parametrize("choice", [("--step", "2"), ("--document", doc_id("en", 1)), ("--text", "over the hill")])
def test_a_page(model: str, tmp_path: Path, choice: tuple[str, str]) -> None:
    path = tmp_path / "pages" / "trace.html"
    assert str(path) in run("trace", model, *choice, "--html", str(path))
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "public domain" in page
    assert "<b>" not in page  # the documents' own markup is text
    if choice[0] != "--step":
        assert "&lt;b&gt;" in page


def test_an_empty_id_is_no_document(model: str) -> None:
    said = run("trace", model, "--document", "", code=2)
    assert said == "error: the document's id is empty; write the beginning of it\n"


def test_a_batch(model: str) -> None:
    shown = run("batch", model, "--step", "1")
    assert shown.count("step 1, sequence") == 4
    found = json.loads(run("batch", model, "--step", "1", "--json"))
    assert [len(sequence["targets"]) for sequence in found] == [8, 8, 8, 8]
    assert all(token["learned"] for sequence in found for token in sequence["targets"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name one of --step, --document and --text"),
        (("--step", "1", "--text", "a"), "name one of --step, --document and --text"),
        (("--step", "20"), "the model has learned in the steps 0 to 19; there is no step 20"),
        (("--step", "1", "--rank", "4"), "rank 4 is none of the run's, 0 to 0"),
        (("--document", "ffff"), "no document ffff is in the token shards of en, zh"),
        (("--text", ""), "the phrase is empty"),
    ],
)
def test_what_cannot_be_traced(model: str, arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, ["trace", model, *arguments])
    assert result.exit_code == 2
    assert message in result.output + str(result.stderr)
