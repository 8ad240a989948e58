"""What share of a month on a thousand GPUs would be useful time, by checkpoint interval and failure rate?

python -m benchmarks.goodput [--survival FILE] [--restart SECONDS] [--json FILE]

Two tables: with what was measured here (a laptop's processor, the demo's model; ``--survival`` takes the figures of
your own ``benchmarks.survival --json``), and with what is assumed of a large cluster. Each share is the mean of
simulated trainings; the largest standard error is printed below. Options replace figures in both tables.
docs/goodput.md says how to choose ``checkpoint_every`` from it.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.goodput.closed_form import best_interval, useful_share
from benchmarks.goodput.inputs import CLUSTER, MEASURED, RATES, Inputs, from_survival
from benchmarks.goodput.simulation import DAY, Shares, simulate

INTERVALS = (60.0, 300.0, 900.0, 3600.0, 4 * 3600.0)


def main() -> None:
    """Parse the command line, simulate, print the tables, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--trainings", type=int, default=200, help="simulated for each share")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--survival", type=Path, help="JSON file of benchmarks.survival, for the measured figures")
    parser.add_argument("--json", type=Path, help="where to write the tables")
    for field in fields(Inputs):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, help="in place of both tables' figure")
    options = parser.parse_args()
    given = {field.name: getattr(options, field.name) for field in fields(Inputs)}
    given = {name: value for name, value in given.items() if value is not None}
    measured = MEASURED if options.survival is None else from_survival(options.survival, MEASURED)
    tables = {}
    for name, inputs in {"measured here": measured, "assumed of a large cluster": CLUSTER}.items():
        tables[name] = _table(
            replace(inputs, **given),
            gpus=options.gpus,
            seconds=options.days * DAY,
            trainings=options.trainings,
            seed=options.seed,
        )
        _show(name, tables[name])
    if options.json:
        content = {"gpus": options.gpus, "days": options.days, "seed": options.seed, "tables": tables}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _table(inputs: Inputs, *, gpus: int, seconds: float, trainings: int, seed: int) -> dict[str, Any]:
    cells = []
    for source, rate in RATES.items():
        failures = rate * gpus / 3600
        best = best_interval(inputs, failures_per_second=failures)
        for interval in (best, *INTERVALS):
            found = simulate(
                inputs,
                interval=interval,
                failures_per_second=failures,
                seconds=seconds,
                trainings=trainings,
                seed=seed,
            )
            useful = [shares.useful for shares in found]
            cells.append(
                {
                    "rate": source,
                    "failures_per_day": failures * DAY,
                    "interval": interval,
                    "best": interval == best,
                    **{field.name: fmean(getattr(one, field.name) for one in found) for field in fields(Shares)},
                    "standard_error": stdev(useful) / math.sqrt(trainings) if trainings > 1 else 0.0,
                    "closed_form": useful_share(inputs, interval=interval, failures_per_second=failures),
                }
            )
    return {"inputs": asdict(inputs), "cells": cells}


def _show(name: str, table: dict[str, Any]) -> None:
    print(f"{name}: {', '.join(f'{key} {value:g}' for key, value in table['inputs'].items())}")
    print(f"{'failures a day':<24}{'best interval':>20}" + "".join(f"{_time(one):>10}" for one in INTERVALS))
    for source in RATES:
        row = [cell for cell in table["cells"] if cell["rate"] == source]
        failures = f"{row[0]['failures_per_day']:.2f} ({source})"
        shares = "".join(f"{cell['useful']:>10.2%}" for cell in row[1:])
        print(f"{failures:<24}{_time(row[0]['interval']):>10}{row[0]['useful']:>10.2%}{shares}")
    worst = table["cells"][-1 - len(INTERVALS)]
    parts = ", ".join(f"{key} {worst[key]:.2%}" for key in ("recomputed", "waiting", "noticing", "restarting"))
    difference = max(abs(cell["useful"] - cell["closed_form"]) for cell in table["cells"])
    error = max(cell["standard_error"] for cell in table["cells"])
    print(f"the rest of the last row at its best interval: {parts}")
    print(
        f"largest standard error {error:.3%}; largest difference to the closed form, without spikes {difference:.3%}\n"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main()
