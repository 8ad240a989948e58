"""How a trainer's rank ends, and with what code, for whoever has started it."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

DONE = 0
AWAY = 1
"""Object storage does not answer; also what Python itself ends with. It is worth a new start."""
REFUSED = 2
"""The settings or the data are wrong, and it says why; it would be so again."""
STOPPED = 75
"""By SIGTERM or SIGINT, after a checkpoint; schedulers requeue on it (EX_TEMPFAIL of sysexits.h)."""
CORRUPTED = 76
"""The weights of ranks differ. It is worth a new start."""


def leave(code: int) -> NoReturn:
    """End the process without Python's taking apart, in which a thread of gloo now and then aborts what is done."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
