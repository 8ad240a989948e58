from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from assets.raw_text.documents import DOCUMENTS, DocumentWriter
from assets.token_shards.errors import TokenShardError
from assets.token_shards.layouts import LAYOUTS
from pipelines.export_command import export
from pipelines.instance_home import dagster_instance
from pipelines.tokens_command import export_tokens
from tests.training.test_shards import write, writer_into
from training.artifact import Artifact, build_artifact
from training.settings import SettingsError

app = typer.Typer()
app.command()(export)
tokens_app = typer.Typer()
tokens_app.command()(export_tokens)


def clean_text(root: Path, dump: str, text: str) -> Artifact:
    def produce(folder: Path) -> dict[str, int]:
        row = {"doc_id": "0" * 32, "text": text, "source": dump, "dump": dump, "path": "a", "byte_start": 0}
        row |= {"byte_end": 1, "licence": "CC0", "language": "en", "metadata": "{}"}
        with DocumentWriter(folder) as writer:
            writer.write(pa.Table.from_pylist([row], schema=DOCUMENTS))
        return {}

    return build_artifact(
        root, kind="clean_text", inputs={}, settings={"text": text}, code_version="1", produce=produce
    )


@pytest.fixture
def materialize(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Records that the clean text of a dump holds one document."""
    monkeypatch.setenv("CORPUSLINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    def record(dump: str, text: str) -> None:
        artifact = clean_text(tmp_path / "outputs", dump, text)
        event = dg.AssetMaterialization(
            "clean_text", partition=dump, metadata={"folder": dg.MetadataValue.path(str(artifact.folder))}
        )
        with dagster_instance() as instance:
            instance.report_runless_asset_event(event)

    return record


def test_the_newest_clean_text_is_written(materialize: object, tmp_path: Path) -> None:
    assert callable(materialize)
    for dump, text in (("reviews", "旧"), ("tales", "a tale"), ("reviews", "新")):
        materialize(dump, text)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, [str(out), "--layout", "datatrove", "--format", "parquet"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("2 documents in 2 files, ") and f"{out}/documents\n" in result.output
    assert pq.read_table(out / "documents/reviews/00000.parquet")["text"].to_pylist() == ["新"]
    assert pq.read_table(out / "documents/tales/00000.parquet")["text"].to_pylist() == ["a tale"]


def test_dumps_are_chosen_by_name(materialize: object, tmp_path: Path) -> None:
    assert callable(materialize)
    materialize("tales", "a tale")
    out = tmp_path / "out"
    result = CliRunner().invoke(app, [str(out), "--dump", "tales"])
    assert result.exit_code == 0, result.output
    assert [path.name for path in (out / "documents").iterdir()] == ["tales"]
    missing = CliRunner().invoke(app, [str(tmp_path / "other")])
    assert isinstance(missing.exception, SettingsError)
    assert str(missing.exception).startswith("'reviews' has no clean text yet: run the job text_stages")
    unknown = CliRunner().invoke(app, [str(tmp_path / "other"), "--dump", "tale"])
    assert "no source 'tale'" in str(unknown.exception)


def test_token_files_are_named_by_dump_and_split(tmp_path: Path) -> None:
    for dump, token in (("web", 1), ("tales", 9)):
        write(tmp_path / dump, [("train", [token, 2]), ("validation", [token])], dump=dump)
    out, chosen = tmp_path / "out", ["--shards", str(tmp_path / "web"), "--shards", str(tmp_path / "tales")]
    result = CliRunner().invoke(tokens_app, [str(out), "--layout", "nanogpt", *chosen])
    assert result.exit_code == 0, result.output
    names = ["tales-train.bin", "tales-validation.bin", "web-train.bin", "web-validation.bin"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert sorted(result.output.split()) == [str(out / name) for name in names]
    assert np.fromfile(out / "tales-train.bin", "<u2").tolist() == [9, 2, 0]


def test_two_folders_of_one_dump_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name, token in (("a", 1), ("b", 9)):
        write(tmp_path / name, [("train", [token])], dump="web")
    chosen = ["--shards", str(tmp_path / "a"), "--shards", str(tmp_path / "b")]
    result = CliRunner().invoke(tokens_app, [str(tmp_path / "out"), "--layout", "nanogpt", *chosen])
    assert isinstance(result.exception, TokenShardError)
    assert str(result.exception).startswith(f"{tmp_path / 'a'} and {tmp_path / 'b'} are both of the dump web")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_loss_masks_are_not_lost_in_silence(tmp_path: Path, layout: str) -> None:
    mask = np.asarray([True, False, False])
    with writer_into(tmp_path / "a") as writer:
        ids, lengths, size = np.asarray([5, 6, 7]), np.asarray([3]), np.asarray([3])
        writer.add_documents("train", pa.array(["0" * 32]), ids, lengths, size, mask)
        writer.add_documents("validation", pa.array(["1" * 32]), ids, lengths, size)
    arguments = ["--layout", layout, "--shards", str(tmp_path / "a")]
    result = CliRunner().invoke(tokens_app, [str(tmp_path / "out"), *arguments])
    assert isinstance(result.exception, TokenShardError)
    assert "tokens of train are not to be learned, and no layout can say so" in str(result.exception)
    assert not (tmp_path / "out").exists()
    for more in (["--split", "validation"], ["--without-loss-masks"]):
        result = CliRunner().invoke(tokens_app, [str(tmp_path / f"out{more[0]}"), *arguments, *more])
        assert result.exit_code == 0, result.output
