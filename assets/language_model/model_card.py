"""The README.md of a model folder: what it is, what it learned from, how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from assets.language_model.evaluation import Evaluation

EXAMPLE_TOKENS = 100


@dataclass(frozen=True)
class DataSheet:
    """One dump that the model learned from.

    Attributes:
        dump: Its name.
        uri: Where it came from.
        language, licence: From the catalogue.
        weight: Share in the mixture.
        documents: Documents read.
        kept: Documents that were clean and no copy.
        train_tokens: Tokens of its training split.
        epochs: Passes over them.
    """

    dump: str
    uri: str
    language: str
    licence: str
    weight: float
    documents: int
    kept: int
    train_tokens: int
    epochs: float


def model_card(
    name: str,
    *,
    report: Mapping[str, Any],
    evaluation: Evaluation,
    data: Sequence[DataSheet],
    lineage: Mapping[str, str],
    in_transformers: bool,
) -> str:
    """Markdown with the YAML head that model hubs read.

    Args:
        name: Name of the model.
        report: The trainer's final report.
        evaluation: The evaluation of this model.
        data: What it learned from.
        lineage: Names and values that lead back to data, code and settings.
        in_transformers: Whether transformers has the model's architecture.
    """
    head = yaml.safe_dump(
        {
            "language": sorted({sheet.language for sheet in data}),
            "library_name": "transformers" if in_transformers else "corpusline",
            "pipeline_tag": "text-generation",
            "tags": ["corpusline"],
        },
        sort_keys=False,
    )
    lines = [
        f"---\n{head}---\n",
        f"# {name}",
        "",
        f"A language model of {report['parameters']:,} parameters, trained from nothing by Corpusline on "
        f"{report['tokens']:,} tokens of the text below. It writes text like what it read and knows nothing else; "
        "it was not tuned to follow instructions or to be safe.",
        "",
        *_example(in_transformers=in_transformers),
        "",
        "## Training data",
        "",
        "| source | from | language | licence | weight | documents read | kept | training tokens | passes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {s.dump} | {s.uri} | {s.language} | {s.licence} | {s.weight} | {s.documents:,} | {s.kept:,} | "
            f"{s.train_tokens:,} | {s.epochs:.2f} |"
            for s in data
        ),
        "",
        "## Evaluation",
        "",
        "Bits for each byte of whole validation documents, which share no text with the training documents; lower is "
        "better. For comparison: a character bigram model of the same training text, and xz and gzip on the validation "
        "text.",
        "",
        "| language | model | bigram | xz | gzip | documents | bytes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {language} | {measured.bits_per_byte:.3f} | "
            + " | ".join(f"{evaluation.baselines[language][name]:.3f}" for name in ("bigram", "xz", "gzip"))
            + f" | {measured.documents:,} | {measured.bytes:,} |"
            for language, measured in evaluation.languages.items()
        ),
        "",
        "## Samples",
        "",
        "The prompt is in bold; seeds are fixed, nothing was chosen.",
        "",
        *(
            f"> **{_quoted(sample.prompt)}**{_quoted(sample.text)}\n"
            for samples in evaluation.samples.values()
            for sample in samples
        ),
        "## Lineage",
        "",
        *(f"- {key}: `{value}`" for key, value in lineage.items()),
        "",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return text.strip("\n").replace("*", "\\*").replace("\n", "  \n> ")


def _example(*, in_transformers: bool) -> list[str]:
    if not in_transformers:
        return ["```sh", 'corpusline generate "Once" --model .', "```"]
    return [
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'folder = "."',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "model = AutoModelForCausalLM.from_pretrained(folder)",
        'inputs = tokenizer("Once", return_tensors="pt")',
        f"print(tokenizer.decode(model.generate(**inputs, max_new_tokens={EXAMPLE_TOKENS})[0]))",
        "```",
    ]
