"""The commands `export-tokens` and `import-tokens`: token shards from and to the layouts of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

LayoutName = Literal["megatron", "datatrove", "nanogpt", "parquet"]
_LAYOUT = typer.Option(help="Whose files they are.")


def export_tokens(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    layout: Annotated[LayoutName, _LAYOUT] = "megatron",
    dump: Annotated[list[str] | None, typer.Option(help="A dump; may stand several times. By default all.")] = None,
    split: Annotated[Literal["train", "validation", "both"], typer.Option(help="Which part.")] = "both",
    shards: Annotated[
        list[Path] | None, typer.Option(help="A folder of token shards, instead of dumps; may stand several times.")
    ] = None,
    without_loss_masks: Annotated[
        bool, typer.Option("--without-loss-masks", help="Write masked tokens too, as tokens to be learned.")
    ] = False,
) -> None:
    """Write the newest token shards for another tool: a file, or a few, for each dump and split."""
    from assets.token_shards.layouts import export_tokens as export_folders
    from pipelines.export_command import newest_artifacts
    from training.shards import SPLITS

    folders = shards or [artifact.folder for artifact in newest_artifacts("token_shards", dump or ()).values()]
    splits = SPLITS if split == "both" else (split,)
    for path in export_folders(folders, layout=layout, splits=splits, out=out, without_loss_masks=without_loss_masks):
        print(path)


def import_tokens(
    files: Annotated[list[Path], typer.Argument(help="Token files, one after the other.")],
    layout: Annotated[LayoutName, _LAYOUT],
    vocabulary: Annotated[Path, typer.Option(help="Folder of the tokenizer.json that made the ids.")],
    out: Annotated[Path, typer.Option(help="A new folder for the shards.")],
    dump: Annotated[str, typer.Option(help="What the dump is called.")],
    language: Annotated[str, typer.Option(help="Language code, e.g. zh.")],
    source: Annotated[str | None, typer.Option(help="Name of the source; by default that of the dump.")] = None,
    validation_share: Annotated[float, typer.Option(help="Share of documents kept for validation.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another choice of them.")] = 0,
) -> None:
    """Read token files of another tool into a folder of shards that the trainer takes."""
    from assets.token_shards.layouts import import_tokens as import_files
    from assets.token_shards.settings import TokenShardSettings

    settings = TokenShardSettings.parse({"validation_share": validation_share, "seed": seed}, origin="import-tokens")
    counts = import_files(
        files,
        layout=layout,
        vocabulary=vocabulary,
        dump=dump,
        source=source or dump,
        language=language,
        settings=settings,
        out=out,
    )
    for split, documents in counts.documents.items():
        print(f"{split}: {documents:,} documents, {counts.tokens[split]:,} tokens")
    print(out)
