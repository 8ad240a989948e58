from __future__ import annotations

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from assets.raw_text.documents import DOCUMENTS, DocumentWriter
from pipelines.export_command import export
from pipelines.instance_home import dagster_instance
from training.artifact import Artifact, build_artifact
from training.settings import SettingsError

app = typer.Typer()
app.command()(export)


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
