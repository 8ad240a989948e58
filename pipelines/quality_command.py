"""The commands `train-quality` and `train-perplexity`: models that score documents, from texts of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from assets.clean_text.quality.training import QualityReport

Split = Literal["file", "line", "blank_line"]

_OUT = typer.Option(help="Folder to write the model to; it must not hold one.")
_SPLIT = typer.Option(help="What is a document of a txt file: the whole file, each line, or each paragraph.")
_FIELD = typer.Option(help="Field or column with the text, of jsonl, csv and Parquet.")


def train_quality(
    good: Annotated[list[Path], typer.Option(help="File or folder of good texts; may be given again.")],
    bad: Annotated[list[Path], typer.Option(help="File or folder of texts that are not; may be given again.")],
    out: Annotated[Path, _OUT],
    split: Annotated[Split, _SPLIT] = "file",
    text_field: Annotated[str, _FIELD] = "text",
    documents: Annotated[int, typer.Option(help="Most documents of each kind, a sample of all.")] = 50_000,
    bits: Annotated[int, typer.Option(help="Of the number of hash buckets for words and pairs of words.")] = 20,
    strength: Annotated[float, typer.Option(help="Inverse of the penalty on large weights.")] = 300.0,
    holdout: Annotated[float, typer.Option(help="Share of the documents that is measured, not learned from.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Chooses the sample and the documents held out.")] = 0,
) -> None:
    """Train a quality classifier: its score of a document is near 1 if it is like the good texts."""
    from assets.clean_text.quality.texts import read_texts
    from assets.clean_text.quality.training import QualityTrainingSettings
    from assets.clean_text.quality.training import train_quality as train
    from assets.clean_text.quality.weights import refuse_existing

    values = {"documents": documents, "bits": bits, "strength": strength, "holdout": holdout, "seed": seed}
    settings = QualityTrainingSettings.parse(values, origin="train-quality")
    refuse_existing(out, "quality")
    model, report = train(
        read_texts(good, split=split, text_field=text_field),
        read_texts(bad, split=split, text_field=text_field),
        settings=settings,
    )
    model.save(out)
    _print_quality(report, out)


def train_perplexity(
    text: Annotated[list[Path], typer.Option(help="File or folder of a reference text; may be given again.")],
    out: Annotated[Path, _OUT],
    split: Annotated[Split, _SPLIT] = "file",
    text_field: Annotated[str, _FIELD] = "text",
    order: Annotated[int, typer.Option(help="Characters of an n-gram.")] = 5,
    han_order: Annotated[int, typer.Option(help="Characters of an n-gram after a Han character.")] = 3,
    ngrams: Annotated[int, typer.Option(help="Most n-grams to keep.")] = 2_000_000,
    megabytes: Annotated[int, typer.Option(min=1, help="Most text to learn from, the first of what is given.")] = 64,
) -> None:
    """Train a character model: its score of a document is in bits a byte, low if the document is like the text."""
    from assets.clean_text.quality.character_counts import PerplexityTrainingSettings, train_character_model
    from assets.clean_text.quality.texts import read_texts
    from assets.clean_text.quality.weights import refuse_existing

    values = {"order": order, "han_order": han_order, "ngrams": ngrams, "bytes": megabytes << 20}
    settings = PerplexityTrainingSettings.parse(values, origin="train-perplexity")
    refuse_existing(out, "perplexity")
    model = train_character_model(read_texts(text, split=split, text_field=text_field), settings=settings)
    model.save(out)
    trained = model.description
    least = trained["least_count"]
    times = "once" if least == 1 else f"{least} times"
    Console(emoji=False, soft_wrap=True).print(
        f"{trained['ngrams']:,} n-grams of {trained['bytes']:,} bytes in {trained['documents']:,} documents, each at "
        f"least {times}: {out}",
        highlight=False,
        markup=False,
    )


def _print_quality(report: QualityReport, out: Path) -> None:
    console = Console(emoji=False, soft_wrap=True, highlight=False)
    console.print(
        f"{report.good:,} good and {report.bad:,} bad documents learned from, {report.held_out:,} held out: AUC "
        f"{report.auc:.4f}; at a score of 0.5 precision {report.precision:.4f}, recall {report.recall:.4f}"
    )
    table = Table(title="On the documents held out", title_justify="left")
    for heading in ("score at least", "good that pass", "bad that pass"):
        table.add_column(heading, justify="right")
    for threshold in report.thresholds:
        table.add_row(f"{threshold.score:.4f}", f"{threshold.recall:.1%}", f"{threshold.bad_passing:.1%}")
    console.print(table)
    console.print(f"The good one with the lowest score: {escape(report.worst_good.strip())}")
    console.print(f"The bad one with the highest score: {escape(report.best_bad.strip())}")
    console.print(f"Model: {escape(str(out))}")
