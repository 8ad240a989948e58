"""torchrun, with the same options, that ends as its ranks do and lets them end in peace.

torchrun itself ends with 1 whatever its ranks ended with, and a stop that was asked for looks like a failure. Asked to
stop, it kills its ranks after 30 seconds; here they have ``TORCH_ELASTIC_SHUTDOWN_TIMEOUT`` seconds.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

# Started as a file, Python looks for modules in this folder, where `torchrun` is this one.
if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import psutil
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def exit_code(codes: list[int]) -> int:
    """What a launcher ends with whose ranks ended so; what a rank says itself counts more than how others broke off.

    Args:
        codes: In the order in which they ended; negative for a signal.
    """
    code = next((code for code in codes if code > 1), codes[0])
    return code if code > 0 else 128 - code


def main() -> int:
    """Entry point of a node's agent."""
    arguments = parse_args(None)  # type: ignore[no-untyped-call]
    # Ranks are asked by the handler below; torchrun's own would end the agent before them.
    arguments.signals_to_handle = "SIGQUIT"

    def ask_ranks(number: int, frame: object) -> None:
        for rank in psutil.Process().children():
            rank.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_ranks)
    try:
        run(arguments)  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        failures = sorted(error.failures.values(), key=lambda failure: failure.timestamp)
        return exit_code([failure.exitcode for failure in failures])
    return 0


if __name__ == "__main__":
    sys.exit(main())
