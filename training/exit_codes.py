"""What a trainer's rank ends with, for whoever has started it."""

DONE = 0
AWAY = 1
"""Object storage does not answer; also what Python itself ends with. It is worth a new start."""
REFUSED = 2
"""The settings or the data are wrong, and it says why; it would be so again."""
STOPPED = 75
"""By SIGTERM or SIGINT, after a checkpoint; schedulers requeue on it (EX_TEMPFAIL of sysexits.h)."""
CORRUPTED = 76
"""The weights of ranks differ. It is worth a new start."""
