"""The three assets that turn documents into clean documents with an account of every one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.clean_text.conservation import check_conservation
from assets.clean_text.copies import find_copies, lost_shares
from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import filter_documents
from assets.clean_text.ledger import finish_documents
from assets.clean_text.named_files import named_files
from assets.clean_text.parts import remove_parts
from assets.clean_text.progress import log_progress
from assets.clean_text.settings import DuplicateSettings, FilterSettings
from assets.clean_text.summaries import dropped_examples, funnel, funnel_markdown
from assets.home import outputs_folder
from assets.launchpad import launchpad_schema
from assets.lineage import artifact_metadata, materialize_dumps, upstream
from assets.partitions import dumps, one_run_a_dump
from training.artifact import Artifact, build_artifact

GROUP = "clean_text"
FILTER_VERSION, DUPLICATES_VERSION, CLEAN_VERSION = "3", "2", "3"
FILES_OF_COPIES = 3
EXAMPLE_CHARACTERS = 160


@dg.asset(
    partitions_def=dumps,
    backfill_policy=one_run_a_dump,
    deps=["raw_text"],
    group_name=GROUP,
    kinds={"parquet", "arrow"},
    code_version=FILTER_VERSION,
    config_schema=launchpad_schema(FilterSettings),
    description="Normalised documents that pass every rule of the policy, with personal data masked, the signals "
    "measured on all of them, a decision on each, and signatures by which copies are found.",
)
def filtered_text(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Normalise, edit, measure, decide, sign."""
    settings = FilterSettings.parse(context.op_config, origin="filtered_text")
    named = named_files(settings)

    def build(dump: str) -> tuple[Artifact, Mapping[str, Any]]:
        raw = upstream(context, "raw_text", dump)
        root = outputs_folder("filtered_text", dump)
        parts = root / ".parts"

        def produce(folder: Path) -> dict[str, int]:
            report = filter_documents(
                raw.folder,
                folder,
                dump=dump,
                settings=settings,
                source=str(raw.manifest.settings.get("source") or dump),
                parts=parts,
                code_version=FILTER_VERSION,
                progress=log_progress("filtered_text", context.log.info),
            )
            dropped = {f"dropped_{rule}": count for rule, count in report.dropped.items()}
            return {
                "documents": report.documents,
                "kept": report.kept,
                "changed": report.changed,
                "raw_bytes": report.raw_bytes,
                "kept_bytes": report.kept_bytes,
                **dropped,
            }

        artifact = build_artifact(
            root,
            kind="filtered_text",
            inputs={"raw_text": raw.manifest.digest, **named},
            settings={"dump": dump, **settings.model_dump(mode="json", exclude={"engine"})},
            code_version=FILTER_VERSION,
            produce=produce,
        )
        remove_parts(parts)
        return artifact, {"dagster/partition_row_count": artifact.manifest.counts["kept"]}

    materialize_dumps(context, build, (CleanTextError, OSError))
    return dg.MaterializeResult()


@dg.asset(
    deps=["filtered_text"],
    group_name=GROUP,
    kinds={"parquet", "duckdb"},
    code_version=DUPLICATES_VERSION,
    config_schema=launchpad_schema(DuplicateSettings),
    check_specs=[
        dg.AssetCheckSpec(
            "copies_within_bounds",
            asset="duplicates",
            description="No dump loses more of its documents as copies than the setting warn_share.",
        )
    ],
    description="Which documents are copies, or nearly, within and across dumps, and which stays: the one of the dump "
    "that stands first in the catalogue. Which repeated text goes, where that is wanted. Works on signatures; only "
    "texts whose signatures agree are compared.",
)
def duplicates(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster: bare
    """Compare the signatures of every dump."""
    settings = DuplicateSettings.parse(context.op_config, origin="duplicates")
    names = dumps.get_partition_keys()
    filtered = {dump: upstream(context, "filtered_text", dump) for dump in names}

    def produce(folder: Path) -> dict[str, int]:
        return find_copies(
            {dump: artifact.folder for dump, artifact in filtered.items()},
            folder,
            settings=settings,
            signed=[artifact.manifest.settings["near_duplicates"] for artifact in filtered.values()],
        ).counts

    try:
        artifact = build_artifact(
            outputs_folder("duplicates"),
            kind="duplicates",
            inputs={"filtered_text": [[dump, artifact.manifest.digest] for dump, artifact in filtered.items()]},
            settings=settings.model_dump(mode="json", exclude={"memory_limit", "warn_share"}),
            code_version=DUPLICATES_VERSION,
            produce=produce,
        )
    except CleanTextError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"{'unchanged, reused' if artifact.reused else 'written to'} {artifact.folder}")
    shares = lost_shares(artifact.manifest.counts, names)
    large = {dump: share for dump, share in shares.items() if share > settings.warn_share}
    return dg.MaterializeResult(
        metadata=artifact_metadata(artifact),
        check_results=[
            dg.AssetCheckResult(
                check_name="copies_within_bounds",
                passed=not large,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={f"lost_share_{dump}": round(share, 4) for dump, share in shares.items()},
                description="; ".join(
                    f"{dump} loses {share:.0%} of its documents as copies, more than warn_share = "
                    f"{settings.warn_share:.0%}: read some of them in the ledger"
                    for dump, share in large.items()
                ),
            )
        ],
    )


@dg.asset(
    partitions_def=dumps,
    backfill_policy=one_run_a_dump,
    deps=["raw_text", "filtered_text", "duplicates"],
    group_name=GROUP,
    kinds={"parquet", "duckdb"},
    code_version=CLEAN_VERSION,
    check_specs=[
        dg.AssetCheckSpec(
            "rows_conserved",
            asset="clean_text",
            blocking=True,
            description="Every document read is in the ledger once, kept or dropped, and the kept ones are the output.",
        )
    ],
    description="Clean documents, each once, and the ledger: a row for every document read, with the rule that dropped "
    "it, what was measured and the limit, or the copy that was kept instead.",
)
def clean_text(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster: bare
    """Take the copies out and write the ledger."""
    copies = upstream(context, "duplicates")
    violations: list[str] = []
    totals = {"read": 0, "unreadable": 0, "kept": 0, "dropped": 0}

    def build(dump: str) -> tuple[Artifact, Mapping[str, Any]]:
        raw, filtered = upstream(context, "raw_text", dump), upstream(context, "filtered_text", dump)
        lists = (f"{name}-{dump}.parquet" for name in ("duplicates", "near-duplicates", "cuts"))
        hashes = {entry.path: entry.sha256 for entry in copies.manifest.files}
        digests = {name: hashes[name] for name in lists if name in hashes}
        if len(digests) != FILES_OF_COPIES:
            raise CleanTextError("the asset duplicates was made without this dump: materialize it again")

        def produce(folder: Path) -> dict[str, int]:
            report = finish_documents(filtered.folder, copies.folder, folder, dump=dump)
            return {
                "documents": report.documents,
                "kept": report.kept,
                "bytes": report.bytes,
                "characters": report.characters,
                **{f"dropped_{rule}": count for rule, count in report.dropped.items()},
            }

        artifact = build_artifact(
            outputs_folder("clean_text", dump),
            kind="clean_text",
            # The dump's own lists of copies, not the whole: another dump's change leaves this one fresh.
            inputs={"filtered_text": filtered.manifest.digest, "duplicates": digests},
            settings={},
            code_version=CLEAN_VERSION,
            produce=produce,
        )
        conservation = check_conservation(raw.folder, artifact.folder)
        violations.extend(f"{dump}: {violation}" for violation in conservation.violations)
        for name in totals:
            totals[name] += getattr(conservation, name)
        return artifact, {
            "dagster/partition_row_count": artifact.manifest.counts["kept"],
            "funnel": _funnel_table(artifact.folder),
            "funnel_by_source": dg.MetadataValue.md(funnel_markdown(artifact.folder)),
            "dropped_examples": _examples(raw.folder, artifact.folder),
        }

    materialize_dumps(context, build, (CleanTextError, OSError))
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(
                check_name="rows_conserved",
                passed=not violations,
                metadata={**totals, "violations": violations},
            )
        ]
    )


def _funnel_table(folder: Path) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "outcome": row.rule or "kept",
                    "documents": row.documents,
                    "share": round(row.share, 4),
                    "bytes": row.bytes,
                }
            )
            for row in funnel(folder)
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn("outcome", "string"),
                dg.TableColumn("documents", "int"),
                dg.TableColumn("share", "float"),
                dg.TableColumn("bytes", "int"),
            ]
        ),
    )


def _examples(raw: Path, clean: Path) -> dg.MarkdownMetadataValue:
    lines = []
    for example in dropped_examples(raw, clean):
        text = " ".join(example.excerpt[:EXAMPLE_CHARACTERS].split()).replace("|", "\\|").replace("`", "'")
        lines.append(f"| {example.rule} | {example.value} | {example.threshold} | {text} |")
    return dg.MetadataValue.md("\n".join(["| rule | value | limit | text |", "| --- | --- | --- | --- |", *lines]))
