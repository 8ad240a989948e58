"""docs/operations.md quotes messages in lines that begin with ``>``: each must be in the code, word for word."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from assets.language_model.settings import LanguageModelSettings

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
QUOTES = re.findall(r"^> (.+)$", PAGE, re.MULTILINE)
SETTINGS = sorted(set(re.findall(r"`((?:launch|training)(?:\.[a-z_]+)+)(?<!\.json)(?:: [^`]*)?`", PAGE)))
PLACEHOLDER = "…"
LEAST_LETTERS = 5
_PERCENT = re.compile(r"%[-+ 0]*\d*(?:\.\d+)?[sdrfgx]")


def template(node: ast.AST) -> str:
    """The text of a string, an f-string or a sum of them, with a placeholder for what is filled in."""
    if isinstance(node, ast.Constant):
        return _PERCENT.sub(PLACEHOLDER, node.value) if isinstance(node.value, str) else PLACEHOLDER
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return PLACEHOLDER


def templates_of(source: str) -> list[str]:
    kinds = (ast.Constant, ast.JoinedStr, ast.BinOp)
    found = {template(node) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)}
    return [text for text in found if len(text) >= LEAST_LETTERS]


@cache
def templates() -> list[str]:
    files = [path for room in ("training", "assets", "pipelines") for path in (REPOSITORY / room).rglob("*.py")]
    return [text for path in files for text in templates_of(path.read_text(encoding="utf-8"))]


def is_said(quote: str, texts: list[str]) -> bool:
    """Whether a text holds a quote, in which an ellipsis stands for anything."""
    pattern = re.compile(".*".join(re.escape(part) for part in quote.split(PLACEHOLDER)), re.DOTALL)
    return any(pattern.search(text) for text in texts)


def test_the_page_quotes_many_messages() -> None:
    assert len(QUOTES) > 40


@pytest.mark.parametrize("quote", sorted(set(QUOTES)))
def test_a_quoted_message_is_one_of_the_code(quote: str) -> None:
    assert len(re.sub(rf"[\s{PLACEHOLDER}]", "", quote)) >= LEAST_LETTERS, "too little to be found by"
    assert is_said(quote, templates())


def test_what_is_not_said_is_not_found() -> None:
    raised = 'raise Error(f"the disk of {run} is " + name + f" full{x}" "; free some")'
    texts = templates_of(f'{raised}\nlog("gone since yesterday: %s (%.1f s)")')
    assert is_said("the disk of … is … full…; free some", texts)
    assert is_said("full…; free", texts)
    assert is_said("gone since yesterday: … (… s)", texts)
    assert not is_said("the disk of /data is … full", texts)
    assert not is_said("the disk of … was … full", texts)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_named_setting_exists(name: str) -> None:
    model: type[BaseModel] = LanguageModelSettings
    *sections, last = name.split(".")
    for section in sections:
        model = model.model_fields[section].annotation  # type: ignore[assignment]
    assert last in model.model_fields
