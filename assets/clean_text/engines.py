"""Where row groups are cleaned: in processes of this machine, or by Ray Data on a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from assets.clean_text.errors import CleanTextError
from assets.clean_text.process_pool import map_in_order, use_one_thread
from assets.clean_text.row_groups import RowGroup

Engine = Literal["local", "ray"]


def map_row_groups(
    function: Callable[[RowGroup], str], row_groups: Sequence[RowGroup], *, engine: Engine, workers: int
) -> Iterator[str]:
    """Results of a function in the order of the row groups.

    Args:
        function: Can be pickled. Its results are short: any number of them may wait for an earlier one.
        row_groups: What it is called with.
        engine: "local": processes of this machine. "ray": the Ray cluster that ``RAY_ADDRESS`` names, or one on this
            machine that ends with the work. The cluster's machines must see the same folders, and have this package.
        workers: Processes on this machine; a cluster uses all it has.

    Raises:
        CleanTextError: If a worker process died twice over a row group, or Ray is not installed or not to be reached.
    """
    if engine == "ray":
        return _map_on_ray(function, row_groups, workers=workers)
    return map_in_order(function, row_groups, workers=workers, ahead=len(row_groups), name=str)


def _map_on_ray(function: Callable[[RowGroup], str], row_groups: Sequence[RowGroup], *, workers: int) -> Iterator[str]:
    ray = _ray()

    def call(row: dict[str, Any]) -> dict[str, Any]:
        use_one_thread()
        place = row.pop("place")
        try:
            return {"place": place, "result": function(RowGroup(**row)), "error": ""}
        except CleanTextError as error:  # Ray would bury its message
            return {"place": place, "result": "", "error": str(error)}

    started = _begin(ray, workers)
    try:
        rows = [{"place": place, **asdict(row_group)} for place, row_group in enumerate(row_groups)]
        found = ray.data.from_items(rows, override_num_blocks=max(1, len(rows))).map(call)
        waiting: dict[int, str] = {}
        place = 0
        for row in found.iter_rows() if rows else ():
            if row["error"]:
                raise CleanTextError(row["error"])
            waiting[row["place"]] = row["result"]
            while place in waiting:
                yield waiting.pop(place)
                place += 1
    except ray.exceptions.RayError as error:
        raise CleanTextError(f"the work on Ray failed: {error}") from error
    finally:
        if started:
            ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise CleanTextError(
            f"the engine 'ray' needs Ray ({error}): install corpusline[ray], or set the engine to 'local'"
        ) from error
    return ray


def _begin(ray: Any, workers: int) -> bool:
    """Connect, unless the caller has; whether a cluster or a connection was begun that must end."""
    if ray.is_initialized():
        return False
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address, log_to_driver=False)
        else:
            ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CleanTextError(f"Ray at {address or 'this machine'} cannot be reached: {error}") from error
    return True
