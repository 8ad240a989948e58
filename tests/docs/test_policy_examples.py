"""The policy that each README shows is accepted, with the rule whose threshold it changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from assets.clean_text.settings import FilterSettings

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_policy_of_a_readme_is_possible(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(ops:\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    content = yaml.safe_load(example)["ops"]["filtered_text"]["config"]
    policy = FilterSettings.parse(content, origin=page).load_policy()
    thresholds = {rule.name: (rule.at_least, rule.at_most) for rule in policy.rules}
    assert content["rules"]
    for name, threshold in content["rules"].items():
        assert {"*": threshold} in thresholds[name]
