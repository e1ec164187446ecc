"""Ways to pay: how many multisets of coins make an amount."""

from __future__ import annotations

from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import same_integer

MODULUS = 1_000_000_007
EXAMPLE = ("3 10\n2 5 3", "4")


def solve(case_input: str) -> str:
    """The number of ways modulo MODULUS, adding one kind of coin after another."""
    _, amount, *coins = (int(token) for token in case_input.split())
    ways = [1] + [0] * amount
    for coin in coins:
        for total in range(coin, amount + 1):
            ways[total] = (ways[total] + ways[total - coin]) % MODULUS
    return str(ways[amount])


def _case(amount: int, coins: list[int]) -> str:
    return f"{len(coins)} {amount}\n{draw.row(coins)}"


def _distinct(rng: Random, count: int, low: int, high: int) -> list[int]:
    return draw.shuffled(rng, range(low, high + 1))[:count]


def _random(rng: Random, size: int) -> str:
    return _case(size, _distinct(rng, draw.integer(rng, 1, 4), 1, 7))


def _nothing(rng: Random, size: int) -> str:
    return _case(0, _distinct(rng, size, 1, 20))


def _one_coin(rng: Random, size: int) -> str:
    coin = draw.integer(rng, 2, 9)
    return _case(coin * size, [coin])


def _even_coins(rng: Random, size: int) -> str:
    """Even coins, an odd amount: it cannot be paid."""
    return _case(2 * size + 1, [2 * n for n in _distinct(rng, 5, 1, 9)])


def _too_large(rng: Random, size: int) -> str:
    """Some coins are larger than the amount."""
    return _case(size, [*_distinct(rng, 4, size + 1, size + 50), *_distinct(rng, 3, 1, 8)])


def _small_coins(rng: Random, size: int) -> str:
    return _case(size, draw.shuffled(rng, [1, *_distinct(rng, 9, 2, 40)]))


def _mixed(rng: Random, size: int) -> str:
    coins = [*_distinct(rng, 6, 2, 60), *_distinct(rng, 4, 100, 999)]
    return _case(size, draw.shuffled(rng, coins))


PROBLEM = Problem(
    slug="ways-to-pay",
    title="Ways to pay",
    difficulty="medium",
    minutes=30,
    statement=write_statement(
        story=(
            "An island mints K kinds of coins and has plenty of each. Two payments are the same "
            "if they use every kind equally often; the order in which coins are put on the table "
            "does not matter. In how many different ways can an amount be paid exactly?",
            "The number may be huge, so give its remainder when divided by 1,000,000,007.",
        ),
        case_input=(
            "A line with the integers K and A: the number of kinds, and the amount to be paid.",
            "A line with K different integers: what the coins are worth.",
        ),
        case_output=(
            "The number of ways to pay A exactly, modulo 1,000,000,007. Nothing (A = 0) can be "
            "paid in exactly one way: with no coin.",
        ),
        constraints=(
            "1 ≤ K ≤ 10",
            "0 ≤ A ≤ 20,000",
            "each coin is worth between 1 and 1,000",
        ),
        example=EXAMPLE,
        explanation="The ways are 5+5, 5+3+2, 3+3+2+2 and 2+2+2+2+2.",
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("nothing to pay", 4, _nothing),
        correctness("one kind of coin", 20, _one_coin),
        correctness("cannot be paid", 30, _even_coins),
        correctness("random", 24, _random),
        correctness("coins above the amount", 40, _too_large),
        correctness("small coins", 60, _small_coins),
        correctness("mixed coins", 200, _mixed),
        performance("large, small coins", 10_000, _small_coins),
        performance("large, mixed coins", 15_000, _mixed),
        performance("largest, small coins", 20_000, _small_coins),
        performance("largest, mixed coins", 20_000, _mixed),
    ),
    solve=solve,
    check=same_integer,
)
