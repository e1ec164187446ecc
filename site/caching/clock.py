"""The only clock of this package: it counts seconds since the machine booted, and never jumps."""

import time

__all__ = ["now"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps


def now() -> float:
    """Seconds since some moment in the past; two values of one process can be compared."""
    return time.clock_gettime(_CLOCK)
