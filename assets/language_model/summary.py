"""The few numbers and texts that tell how a whole run went, kept beside the model as ``summary.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from assets.clean_text.summaries import funnel
from training.artifact import Artifact

if TYPE_CHECKING:  # `corpusline summary` shall not wait for torch
    from assets.language_model.evaluation import Evaluation

SUMMARY = "summary.json"


def summarise(
    stages: Mapping[str, Mapping[str, Artifact]], report: Mapping[str, Any], evaluation: Evaluation
) -> dict[str, Any]:
    """Documents, rules, tokens, model, speed, quality, samples; JSON.

    Args:
        stages: Artifacts of raw_text, clean_text and token_shards by dump.
        report: The trainer's final report.
        evaluation: Of the model.
    """
    dropped: Counter[str] = Counter()
    for artifact in stages["clean_text"].values():
        dropped.update({row.rule: row.documents for row in funnel(artifact.folder) if row.rule is not None})
    return {
        "documents": sum(artifact.manifest.counts["documents"] for artifact in stages["raw_text"].values()),
        "kept": sum(artifact.manifest.counts["kept"] for artifact in stages["clean_text"].values()),
        "dropped": dict(dropped.most_common()),
        "train_tokens": sum(artifact.manifest.counts["train_tokens"] for artifact in stages["token_shards"].values()),
        "trained_tokens": report["tokens"],
        "steps": report["steps"],
        "parameters": report["parameters"],
        "tokens_per_second": report["tokens_per_second"],
        "languages": {language: asdict(measured) for language, measured in evaluation.languages.items()},
        "baselines": evaluation.baselines,
        "samples": {
            language: [[sample.prompt, sample.text] for sample in samples]
            for language, samples in evaluation.samples.items()
        },
    }
