"""What the cache did in this process: (label, outcome) → how often, and the bytes of it.

Outcomes: "hit", "miss" (asked, and kept), "busy" (a write is under way), "off" (not in service),
"away" (Redis), "not plain" (asked, and cannot be kept).
"""

from collections import Counter

__all__ = ["bytes_moved", "count", "outcomes"]

outcomes: Counter[tuple[str, str]] = Counter()
bytes_moved: Counter[tuple[str, str]] = Counter()


def count(label: str, outcome: str, size: int = 0) -> None:
    """One more of it."""
    outcomes[label, outcome] += 1
    if size:
        bytes_moved[label, outcome] += size
