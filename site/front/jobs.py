"""Makes the counter known to workers: `prepared.jobs.prepare` finds it by its name."""

from front.counter import COUNTER

__all__ = ["COUNTER"]
