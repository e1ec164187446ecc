"""Every task of the library, by slug."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tasks.library import (
    best_run,
    brackets,
    build_order,
    coins,
    crates,
    equilibrium,
    first_free,
    hedges,
    leader,
    night_watch,
    overtakes,
    period,
)
from tasks.library.base import Problem, UnknownTask

# In the order of a catalogue: easy first.
_PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        module.PROBLEM.slug: module.PROBLEM
        for module in (
            equilibrium,
            leader,
            best_run,
            first_free,
            brackets,
            coins,
            overtakes,
            period,
            build_order,
            night_watch,
            crates,
            hedges,
        )
    }
)


def problems() -> Mapping[str, Problem]:
    """Every problem by its slug, easy ones first; read-only."""
    return _PROBLEMS


def get(slug: str) -> Problem:
    """The problem of a slug. Raises UnknownTask."""
    try:
        return _PROBLEMS[slug]
    except KeyError:
        known = ", ".join(_PROBLEMS)
        raise UnknownTask(f"No task {slug!r} in the library; it has {known}.") from None
