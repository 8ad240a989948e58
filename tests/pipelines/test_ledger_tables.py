from __future__ import annotations

import pyarrow as pa
import pytest
from rich.console import Console

from assets.clean_text.ledger import LEDGER
from assets.clean_text.ledger_report import DocumentAccount
from assets.clean_text.what_if import WhatIf, WhatIfGroup, WhatIfRule
from pipelines.ledger_tables import print_account, print_what_if


@pytest.mark.parametrize(
    ("original", "state"),
    [
        ({"kept": True}, "kept"),
        ({"kept": False, "rule": "near_duplicate", "duplicate_of": "third"}, "itself a copy of third"),
        ({"kept": False, "rule": "nothing_left"}, "dropped by nothing_left"),
    ],
)
def test_what_became_of_the_original_of_a_copy(original: dict[str, object], state: str) -> None:
    copy = {"doc_id": "first", "kept": False, "rule": "exact_duplicate", "duplicate_of": "second"}
    row, other = pa.Table.from_pylist(
        [copy, {"doc_id": "second", "path": "a.txt", **original}], schema=LEDGER
    ).to_pylist()
    account = DocumentAccount(
        row=row, signals={}, limits=(), originals=(other,), copies=(), copy_count=0, suspects=(), excerpt=""
    )
    console = Console(width=120)
    with console.capture() as captured:
        print_account(account, console)
    [line] = [line.rstrip() for line in captured.get().splitlines() if "second: " in line]
    assert line.endswith(f", {state}")


def test_names_of_rules_stay_whole_in_a_terminal_of_80_columns() -> None:
    group = WhatIfGroup(None, None, 3276, 2814, 186, 0, 2628, 0, 5_160_000, 868_000)
    rule = WhatIfRule("gopher_below_avg_threshold", 0, 1189, 0, 1791, 1158, 0)
    result = WhatIf(
        policy="fineweb",
        dumps=("web",),
        groups=(group,),
        rules=(rule,),
        newly_kept=(),
        newly_dropped=(),
        groups_of_copies=0,
        warnings=(),
    )
    console = Console(width=80)
    with console.capture() as captured:
        print_what_if(result, console)
    assert "│ gopher_below_avg_threshold │     0 │ 1,189 │     0 │ 1,791 │   1,158 │     0 │" in captured.get()
