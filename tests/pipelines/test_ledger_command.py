from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from assets.clean_text.copies import find_copies
from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import filter_documents
from assets.clean_text.ledger import finish_documents
from assets.clean_text.named_files import named_files
from assets.clean_text.settings import DuplicateSettings, FilterSettings
from assets.home import outputs_folder, training_runs_folder
from assets.raw_text.documents import DOCUMENTS, DocumentWriter, document_hash, document_id
from pipelines.instance_home import dagster_instance
from pipelines.ledger_command import ledger, parse_changes, what_if
from training.artifact import Artifact, build_artifact
from training.settings import SettingsError
from training.suspects import Suspect, append_suspects

app = typer.Typer()
app.command()(ledger)
app.command()(what_if)

TALES = ["The keeper counted nine lanterns before the evening bell.", "Too short.", "A [red] house stood by the river."]
REVIEWS = ["这本书的内容很有意思，孩子看了好几遍。", "很好", "这本书的内容很有意思，孩子看了好几遍。"]


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "150"})
    if result.exception:
        raise result.exception
    return result.stdout


def write_raw_text(folder: Path, dump: str, language: str, texts: list[str]) -> dict[str, int]:
    begun = document_hash(dump)
    with DocumentWriter(folder) as writer:
        for number, text in enumerate(texts):
            row = {"doc_id": document_id(begun, f"{number}{text}".encode()), "text": text, "source": dump, "dump": dump}
            row |= {"path": f"{number}.txt", "byte_start": 0, "byte_end": len(text.encode()), "licence": "CC0"}
            row |= {"language": language, "metadata": "{}"}
            writer.write(pa.Table.from_pylist([row], schema=DOCUMENTS))
    return {}


def materialize(stage: str, dump: str, inputs: Mapping[str, Any], produce: Any) -> Artifact:
    """Make an artifact and tell Dagster of it, as the assets do."""
    artifact = build_artifact(
        outputs_folder(stage, dump),
        kind=stage,
        inputs=inputs,
        settings={"dump": dump},
        code_version="1",
        produce=produce,
    )
    folder = dg.MetadataValue.path(str(artifact.folder))
    event = dg.AssetMaterialization(
        stage, partition=dump, metadata={"folder": folder, "digest": artifact.manifest.digest}
    )
    with dagster_instance() as instance:
        instance.report_runless_asset_event(event)
    return artifact


def filter_settings(folder: Path, **limits: float) -> FilterSettings:
    path = folder / "policy.yaml"
    path.write_text(
        "name: small\nrules:\n  - {name: too_short, signal: visible_characters, at_least: {'*': 16, zh: 6}}\n"
        "  - {name: few_letters, signal: letter_share, at_least: 0.4}\n"
    )
    return FilterSettings(policy=str(path), rules=limits)


def clean(tmp_path: Path, dump: str, language: str, texts: list[str], **limits: float) -> Artifact:
    settings = filter_settings(tmp_path, **limits)
    raw = materialize("raw_text", dump, {"texts": texts}, lambda out: write_raw_text(out, dump, language, texts))

    def write_filtered(out: Path) -> dict[str, int]:
        return {"documents": filter_documents(raw.folder, out, dump=dump, settings=settings).documents}

    inputs = {"raw_text": raw.manifest.digest, **named_files(settings)}
    filtered = materialize("filtered_text", dump, inputs, write_filtered)
    copies = tmp_path / f"copies-{filtered.folder.name}"
    copies.mkdir()
    signed = settings.near_duplicates.model_dump(mode="json")
    find_copies({dump: filtered.folder}, copies, settings=DuplicateSettings(), signed=[signed])

    def write_clean(out: Path) -> dict[str, int]:
        return {"documents": finish_documents(filtered.folder, copies, out, dump=dump).documents}

    return materialize("clean_text", dump, {"filtered_text": filtered.manifest.digest}, write_clean)


@pytest.fixture
def cleaned(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which both dumps of the catalogue have clean text."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    clean(tmp_path, "tales", "en", TALES)
    clean(tmp_path, "reviews", "zh", REVIEWS)
    return tmp_path


def test_ledger_prints_the_funnel_and_examples(cleaned: Path) -> None:
    shown = run("ledger")
    assert "All together" in shown and "tales, en" in shown and "reviews, zh" in shown
    assert "visible_characters 10" not in shown, "ten characters with a space in them are nine"
    assert "visible_characters 9 (limit 16)" in shown
    assert "Too short." in shown and "很好" in shown
    assert "Dropped: exact_duplicate" in shown
    assert "reviews" not in run("ledger", "--dump", "tales")
    assert "Too short." not in run("ledger", "--language", "zh")


def test_ledger_as_json(cleaned: Path) -> None:
    report = json.loads(run("ledger", "--json", "--rule", "too_short", "--examples", "1"))
    assert [(funnel["source"], funnel["documents"], funnel["kept"]) for funnel in report["funnels"]] == [
        (None, 6, 3),
        ("reviews", 3, 1),
        ("tales", 3, 2),
    ]
    (example,) = report["dropped"]
    assert example["rule"] == "too_short"


def test_ledger_as_a_page(cleaned: Path) -> None:
    out = cleaned / "new" / "page.html"
    assert run("ledger", "--html", out) == f"{out}\n"
    page = out.read_text("utf-8")
    assert "Too short." in page and "很好" in page
    assert json.loads(run("ledger", "--html", out, "--json"))["dumps"] == ["tales", "reviews"]


def test_ledger_of_a_document(cleaned: Path) -> None:
    report = json.loads(run("ledger", "--json"))
    copy = next(example for example in report["dropped"] if example["rule"] == "exact_duplicate")
    shown = run("ledger", "--document", copy["doc_id"][:16])
    assert f"copy of    {copy['duplicate_of']}\n" in re.sub(" +\n", "\n", shown)
    assert f"{copy['duplicate_of']}: reviews, zh, 0.txt:0-57, kept" in shown
    assert "dropped by exact_duplicate" in shown and "visible_characters" in shown and "too_short >= 6" in shown
    assert REVIEWS[2] in shown
    assert json.loads(run("ledger", "--document", copy["doc_id"], "--json"))["originals"][0]["path"] == "0.txt"
    short = next(example for example in report["dropped"] if example["excerpt"] == "Too short.")
    assert "dropped by too_short, 9 (limit 16)" in run("ledger", "--document", short["doc_id"])
    with pytest.raises(CleanTextError, match="no document 'zz' in the ledgers of tales, reviews"):
        run("ledger", "--document", "zz")


def test_suspects_of_trainings_stand_in_the_ledger(cleaned: Path) -> None:
    assert "Suspected" not in run("ledger")
    ids = [document_id(document_hash("reviews"), f"{number}{text}".encode()) for number, text in enumerate(REVIEWS)]
    training = training_runs_folder() / "5188d277aa9d41c0"
    training.mkdir(parents=True)
    strange = Suspect(120, "reviews", ids[0], 40, 9.81, "龘靐[齉]")
    append_suspects(training, [strange, Suspect(120, "reviews", ids[1], 2, 2.2, "很好")])
    append_suspects(training, [Suspect(300, "elsewhere", "0" * 32, 9, 8.0, "of a dump that is gone")])
    shown = run("ledger", "--examples", "1")
    assert "Suspected, left out of a training: step 120 of training 5188d277aa9d" in shown
    assert f"{ids[0]}  reviews, zh, 0.txt:0-57  nats_a_token 9.81" in shown
    assert "龘靐[齉]" in shown
    assert ids[1] not in shown and "step 300" not in shown
    report = json.loads(run("ledger", "--json"))
    assert [(example["doc_id"], example["value"]) for example in report["suspects"]] == [(ids[0], 9.81), (ids[1], 2.2)]
    page = cleaned / "page.html"
    run("ledger", "--html", page)
    assert "龘靐[齉]" in page.read_text("utf-8")
    account = run("ledger", "--document", ids[0])
    assert "step 120 of training 5188d277aa9d" in account and "龘靐[齉]" in account
    for less in (["--dump", "tales"], ["--language", "en"], ["--rule", "too_short"], ["--document", ids[2]]):
        assert "Suspected" not in run("ledger", *less)


def test_what_if_of_a_changed_threshold(cleaned: Path) -> None:
    shown = run("what-if", "--rules", "too_short.en=5", "--rules", "too_short.zh=60")
    assert "Under the policy 'small, too_short.en=5, too_short.zh=60'" in shown
    assert "Newly kept, now dropped by: too_short" in shown and "Too short." in shown
    assert "Newly dropped, by: too_short" in shown
    assert "1 of the newly dropped documents have" not in shown, "the copy is as short"
    result = json.loads(run("what-if", "--json", "--rules", "too_short=off", "--dump", "tales"))
    assert [(group["source"], group["kept_now"], group["kept_then"]) for group in result["groups"]] == [("tales", 2, 3)]


def test_what_if_of_a_file(cleaned: Path) -> None:
    policy = cleaned / "mine.yaml"
    policy.write_text("name: mine\nrules:\n  - {name: few, signal: words, at_least: 8}\n")
    result = json.loads(run("what-if", policy, "--json"))
    assert result["policy"] == "mine"
    assert {example["rule"] for example in result["newly_dropped"]} == {"few"}
    shown = run("what-if", policy)
    assert "Under the policy 'mine'" in shown and "A [red] house stood by the river." in shown
    with pytest.raises(CleanTextError, match="there is no policy at"):
        run("what-if", cleaned / "none.yaml")


def test_the_ledger_is_that_of_the_run_it_was_made_from(cleaned: Path) -> None:
    clean(cleaned, "tales", "en", TALES, too_short=40)
    shown = json.loads(run("ledger", "--dump", "tales", "--json"))
    assert {(example["rule"], example["threshold"]) for example in shown["dropped"]} == {("too_short", 40.0)}
    # The filter ran once more, and what is clean was not made again.
    settings = filter_settings(cleaned, too_short=9)
    raw = outputs_folder("raw_text", "tales")
    (folder,) = (path for path in raw.iterdir() if not path.name.startswith("."))

    def write_filtered(out: Path) -> dict[str, int]:
        return {"documents": filter_documents(folder, out, dump="tales", settings=settings).documents}

    materialize("filtered_text", "tales", {"raw_text": "other", **named_files(settings)}, write_filtered)
    result = json.loads(run("what-if", "--rules", "too_short=9", "--dump", "tales", "--json"))
    assert {(example["threshold"], example["value"]) for example in result["newly_kept"]} == {(40.0, 9.0), (40.0, 27.0)}


def test_what_cannot_be_answered_is_said(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with pytest.raises(SettingsError, match="there is no clean text yet"):
        run("ledger")
    clean(tmp_path, "tales", "en", TALES)
    assert json.loads(run("ledger", "--json"))["dumps"] == ["tales"], "the other dump has none yet"
    with pytest.raises(SettingsError, match="'reviews' has no clean text yet"):
        run("ledger", "--dump", "reviews")
    with pytest.raises(SettingsError, match="name a policy"):
        run("what-if")
    with pytest.raises(SettingsError, match="unknown rule 'to_short', did you mean 'too_short'"):
        run("what-if", "--rules", "to_short=3")


def test_changes_are_written_as_in_the_settings() -> None:
    assert parse_changes(["too_short=50", "few_letters.zh=off,many_digits=0.4"]) == {
        "too_short": 50.0,
        "few_letters.zh": None,
        "many_digits": 0.4,
    }
    for wrong in ("too_short", "too_short=many", "too_short="):
        with pytest.raises(SettingsError, match=r"write e\.g\. too_short=50"):
            parse_changes([wrong])
