"""The newest clean text of dumps with what it was made from, as Dagster's instance knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.export_command import ASSET, newest_clean_text
from training.artifact import Artifact, ArtifactError, open_artifact
from training.settings import SettingsError

if TYPE_CHECKING:
    import dagster as dg

    from assets.clean_text.ledger_report import StoredDump

_MOST_MATERIALIZATIONS = 200


def stored_dumps(names: Sequence[str]) -> list[StoredDump]:
    """Where the newest clean text of each dump lies, and the filtered and raw text that it was made from.

    Args:
        names: Dumps; by default all of the catalogue that have clean text.

    Raises:
        SettingsError: If a dump is not in the catalogue or has no clean text yet, or none has.
        ArtifactError: If a folder of clean text is gone or incomplete.
        CleanTextError: If an earlier version made it.
    """
    from assets.clean_text.ledger_report import StoredDump, policy_of_run
    from pipelines.instance_home import dagster_instance

    dumps = []
    newest = newest_clean_text(names or _with_clean_text())
    with dagster_instance() as instance:
        for name, clean in newest.items():
            filtered = _made_from(instance, "filtered_text", name, clean)
            raw = _made_from(instance, "raw_text", name, filtered) if filtered else None
            dumps.append(
                StoredDump(
                    name=name,
                    clean=clean.folder,
                    filtered=filtered.folder if filtered else None,
                    raw=raw.folder if raw else None,
                    policy=policy_of_run(filtered.manifest.inputs) if filtered else None,
                )
            )
    return dumps


def _with_clean_text() -> list[str]:
    import dagster as dg

    from assets.home import catalogue_path
    from assets.raw_text.catalogue import load_catalogue
    from pipelines.instance_home import dagster_instance

    with dagster_instance() as instance:
        made = instance.get_materialized_partitions(dg.AssetKey(ASSET))
    names = [source.name for source in load_catalogue(catalogue_path()).sources if source.name in made]
    if not names:
        raise SettingsError("there is no clean text yet: run `make demo`, or the job text_stages")
    return names


def _made_from(instance: dg.DagsterInstance, asset: str, dump: str, artifact: Artifact) -> Artifact | None:
    """The newest artifact of an earlier stage with the content that this one was made from; None if it is gone."""
    import dagster as dg

    from assets.lineage import FOLDER

    digest = artifact.manifest.inputs.get(asset)
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[dump]), limit=_MOST_MATERIALIZATIONS
    ).records
    for record in records:
        metadata: Mapping[str, dg.MetadataValue] = (
            record.asset_materialization.metadata if record.asset_materialization else {}
        )
        if "digest" in metadata and metadata["digest"].value == digest:
            try:
                return open_artifact(Path(str(metadata[FOLDER].value)))
            except ArtifactError:
                continue
    return None
