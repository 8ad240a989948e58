"""The command ``corpusline export-text``: the newest clean documents, in the layout of another tool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from training.artifact import Artifact
from training.settings import SettingsError

ASSET = "clean_text"


def export(
    out: Annotated[str, typer.Argument(help="A new folder, or an address such as s3://bucket/folder.")],
    layout: Annotated[
        Literal["corpusline", "datatrove", "dolma"], typer.Option(help="Whose readers shall read it.")
    ] = "corpusline",
    format: Annotated[
        Literal["jsonl.zst", "jsonl.gz", "parquet"], typer.Option(help="How the files are written.")
    ] = "jsonl.zst",
    dump: Annotated[list[str] | None, typer.Option(help="A dump; may stand several times. By default all.")] = None,
) -> None:
    """Write the newest clean documents for another tool, to a folder or object storage."""
    from assets.clean_text.export import DOCUMENTS_FOLDER, export_documents

    exported = export_documents(newest_clean_text(dump or ()), out, layout=layout, format=format)
    verb = "are there already" if exported.reused else "written"
    print(f"{exported.documents:,} documents in {len(exported.files)} files, {exported.size:,} bytes, {verb}")
    print(f"{out.rstrip('/')}/{DOCUMENTS_FOLDER}")


def newest_clean_text(names: Sequence[str]) -> dict[str, Artifact]:
    """The newest ``clean_text``, see ``newest_artifacts``."""
    return newest_artifacts(ASSET, names)


def newest_artifacts(asset: str, names: Sequence[str]) -> dict[str, Artifact]:
    """The newest artifact of an asset for each of these dumps, in the catalogue's order; of all if none is named.

    Raises:
        SettingsError: If a dump is not in the catalogue or the asset was not made of it yet.
        ArtifactError: If a folder is gone or incomplete.
    """
    import dagster as dg

    from assets.home import catalogue_path
    from assets.lineage import artifact_of
    from assets.raw_text.catalogue import load_catalogue
    from pipelines.instance_home import dagster_instance

    catalogue = load_catalogue(catalogue_path())
    wanted = {catalogue[name].name for name in names} or {source.name for source in catalogue.sources}
    found: dict[str, Artifact] = {}
    with dagster_instance() as instance:
        for source in catalogue.sources:
            if source.name not in wanted:
                continue
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[source.name]), limit=1
            ).records
            if not records or records[0].asset_materialization is None:
                what = asset.replace("_", " ")
                raise SettingsError(
                    f"'{source.name}' has no {what} yet: run the job text_stages or raw_to_model, or name other dumps "
                    "with --dump"
                )
            found[source.name] = artifact_of(records[0].asset_materialization)
    return found
