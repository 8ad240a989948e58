"""Small pictures for Dagster's pages: PNG inside markdown, the one way Dagster shows a plot."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import dagster as dg
from matplotlib.figure import Figure

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 6.0, 3.0, 80


def histogram(counts: Sequence[int], edges: Sequence[float], *, label: str) -> dg.MarkdownMetadataValue:
    """Bars of counts (length n) between edges (length n + 1) on a logarithmic x axis."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="tight")
    axes = figure.add_subplot()
    axes.stairs(counts, edges, fill=True)
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("documents")
    return _markdown(figure, label)


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """One line a name, each a sequence of (x, y)."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="tight")
    axes = figure.add_subplot()
    for name, points in lines.items():
        axes.plot([x for x, _ in points], [y for _, y in points], label=name, marker="." if len(points) < 20 else None)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend()
    return _markdown(figure, y_label)


def _markdown(figure: Figure, title: str) -> dg.MarkdownMetadataValue:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")
