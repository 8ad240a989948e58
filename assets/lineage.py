"""How an asset finds the folders that the assets before it made, and tells where its own is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from training.artifact import Artifact, ArtifactError, open_artifact

FOLDER = "folder"


def upstream(context: dg.AssetExecutionContext, asset: str, dump: str | None = None) -> Artifact:
    """The artifact of the asset's newest materialization (of one dump, where it is partitioned).

    Raises:
        dagster.Failure: If it was never materialized, or its folder is gone or incomplete.
    """
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[dump] if dump else None), limit=1
    ).records
    name = f"{asset}[{dump}]" if dump else asset
    if not records or records[0].asset_materialization is None:
        raise dg.Failure(f"{name} is not materialized yet: materialize it first", allow_retries=False)
    try:
        return artifact_of(records[0].asset_materialization)
    except ArtifactError as error:
        raise dg.Failure(f"{name}: {error}", allow_retries=False) from error


def artifact_of(materialization: dg.AssetMaterialization) -> Artifact:
    """Open the folder that a materialization tells of.

    Raises:
        ArtifactError: If it is gone or incomplete, or none is named.
    """
    folder = materialization.metadata.get(FOLDER)
    if folder is None:
        raise ArtifactError(
            f"the newest materialization of {materialization.asset_key.to_user_string()} was reported by hand and "
            "names no folder: materialize it"
        )
    return open_artifact(Path(str(folder.value)))


def artifact_metadata(artifact: Artifact) -> dict[str, Any]:
    """Metadata that every materialization carries: folder, size, digest, fingerprint and the stage's counts."""
    manifest = artifact.manifest
    return {
        FOLDER: dg.MetadataValue.path(str(artifact.folder)),
        "dagster/uri": artifact.folder.as_uri(),
        "bytes": manifest.size,
        "digest": manifest.digest,
        "fingerprint": manifest.fingerprint,
        "reused": artifact.reused,
        **manifest.counts,
    }


def materialize_dumps(
    context: dg.AssetExecutionContext,
    build: Callable[[str], tuple[Artifact, Mapping[str, Any]]],
    errors: tuple[type[Exception], ...],
) -> list[Artifact]:
    """Build the run's dumps one after another; one that fails does not keep the others from being built.

    Args:
        context: The context of a partitioned asset.
        build: From a dump's name to its artifact and further metadata.
        errors: What a bad dump raises: reported by its message, without a stack trace.

    Raises:
        dagster.Failure: If the run names no dump, or after the last dump if any failed, with all their messages. The
            dumps that were built keep their materialization.
    """
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            'this asset is partitioned by dump: name one with --tags \'{"dagster/partition": "NAME"}\' or run '
            "the job raw_to_model",
            allow_retries=False,
        )
    built: dict[str, tuple[Artifact, Mapping[str, Any]]] = {}
    failed: dict[str, str] = {}
    expected: tuple[type[Exception], ...] = (dg.Failure, *errors)
    for dump in context.partition_keys:
        try:
            artifact, metadata = build(dump)
        except expected as error:
            failed[dump] = str(getattr(error, "description", None) or error)
            context.log.error(f"{dump}: {error}")
            continue
        built[dump] = (artifact, artifact_metadata(artifact) | dict(metadata))
        verb = "unchanged, reused" if artifact.reused else "written to"
        context.log.info(f"{dump}: {verb} {artifact.folder}")
    if failed:
        for dump, (_, metadata) in built.items():
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=dump, metadata=dict(metadata)))
        raise dg.Failure(
            "\n".join(f"{dump}: {message}" for dump, message in failed.items()),
            metadata={"failed": list(failed), "built": list(built)},
            allow_retries=False,
        )
    for dump, (_, metadata) in built.items():
        context.add_asset_metadata(dict(metadata), partition_key=dump)
    return [artifact for artifact, _ in built.values()]
