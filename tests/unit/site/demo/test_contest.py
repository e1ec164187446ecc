"""The demo's contest."""

import pytest

from contests.boards import make_board
from demo.contest import EACH, SLUG, seed_contest
from tests.unit.site.contests_support import account_on_each_shard
from tests.unit.site.pages_support import counted_queries

pytestmark = pytest.mark.django_db(databases="__all__")


def test_it_has_results_of_several_accounts_and_is_made_once() -> None:
    slugs = [account.slug for account in account_on_each_shard()]
    assert seed_contest(slugs)
    board = make_board(SLUG)
    assert (board["judged"], board["state"]) == (EACH * len(slugs), "running")
    scores = [row["score"] for row in board["rows"]]
    assert scores == sorted(scores, reverse=True)
    with counted_queries() as queries:
        assert not seed_contest(slugs)
    assert len(queries) == 1
