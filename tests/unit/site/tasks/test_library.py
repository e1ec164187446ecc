"""The task library: references against brute force, checkers against garbage, scores, files."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, count, pairwise, permutations
from random import Random

import pytest

from tasks import library
from tasks.library import Case, Problem, SubmissionTooLarge, UnknownCase, UnknownTask

SLUGS = tuple(library.problems())
SEED = "a session"

# The start of each input file's SHA-256 for SEED. A session's input is made again when its output
# is judged, so whoever changes a digest breaks the sessions that are open at that moment.
GOLDEN = {
    "equilibrium-index": "34d0f24ddf6a",
    "leader": "7b6b9c8ea157",
    "best-run": "35b56fb946ce",
    "first-free-number": "c069db6a4f86",
    "bracket-inspector": "c1749fbb808f",
    "ways-to-pay": "d748a8b73750",
    "overtakes": "c4eac6e5dbe1",
    "wallpaper-period": "90698ff6bf67",
    "build-order": "574871590fa8",
    "night-watch": "580ae1c564fa",
    "nested-crates": "e99ef826dcf3",
    "hedge-maze": "53843a855052",
}

Answers = tuple[set[str], set[str]]


@pytest.fixture(params=SLUGS)
def problem(request: pytest.FixtureRequest) -> Problem:
    return library.get(request.param)


def seeded(seed: object) -> Random:
    return Random(str(seed))


@cache
def material(slug: str) -> list[tuple[Case, str, str]]:
    """Every case of a problem with an input and the reference's answer."""
    problem = library.get(slug)
    made = [
        (case, problem.generate(seeded(f"{slug}{n}"), case)) for n, case in enumerate(problem.cases)
    ]
    return [(case, text, problem.solve(text)) for case, text in made]


@cache
def solution(slug: str) -> tuple[str, ...]:
    return tuple(library.solution_file(library.get(slug), SEED).splitlines())


@cache
def session_input(slug: str) -> str:
    return library.input_file(library.get(slug), SEED)


# Brute force: each function takes one case's input and gives right answers and wrong ones.


def only(answer: int) -> Answers:
    return {str(answer)}, {str(answer - 1), str(answer + 1), str(-answer - 1), f"{answer} {answer}"}


def numbers(case_input: str) -> list[int]:
    return [int(token) for token in case_input.split()]


def indexes(size: int, is_right: Callable[[int], bool]) -> Answers:
    right = {str(i) for i in range(size) if is_right(i)} or {"-1"}
    return right, {str(i) for i in range(-size - 1, size + 2)} - right


def brute_equilibrium(case_input: str) -> Answers:
    _, *a = numbers(case_input)
    return indexes(len(a), lambda i: sum(a[:i]) == sum(a[i + 1 :]))


def brute_leader(case_input: str) -> Answers:
    _, *a = numbers(case_input)
    every = {f"{x} {i}" for x in {*a, 0} for i in range(-len(a) - 1, len(a) + 2)} | {"-1"}
    wins = {x for x in a if a.count(x) > len(a) / 2}
    right = {f"{x} {i}" for i, x in enumerate(a) if x in wins} or {"-1"}
    return right, every - right


def brute_best_run(case_input: str) -> Answers:
    _, *a = numbers(case_input)
    ends = range(len(a) + 1)
    return only(max(sum(a[i:j]) for i, j in combinations(ends, 2)))


def brute_first_free(case_input: str) -> Answers:
    _, *a = numbers(case_input)
    return only(next(n for n in count(1) if n not in a))


def brute_brackets(text: str) -> Answers:
    for position in range(1, len(text) + 1):
        left = text[:position]
        while (shorter := left.replace("()", "").replace("[]", "").replace("{}", "")) != left:
            left = shorter
        if set(left) & set(")]}"):
            return only(position)
    return only(len(text) + 1 if left else 0)


def brute_coins(case_input: str) -> Answers:
    _, amount, *coins = numbers(case_input)

    @cache
    def ways(rest: int, kinds: int) -> int:
        if kinds == 0 or rest < 0:
            return int(rest == 0)
        return ways(rest, kinds - 1) + (ways(rest - coins[kinds - 1], kinds) if rest > 0 else 0)

    return only(ways(amount, len(coins)) % 1_000_000_007)


def brute_overtakes(case_input: str) -> Answers:
    _, *a = numbers(case_input)
    return only(sum(earlier > later for earlier, later in combinations(a, 2)))


def brute_period(text: str) -> Answers:
    return only(next(p for p in count(1) if text.startswith(text[p:])))


def brute_build_order(case_input: str) -> Answers:
    jobs, _, *flat = numbers(case_input)
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    right: set[str] = set()
    wrong = {"-1", "1 1", "0", "1 2 3 4 5 6 7 8"}
    for order in permutations(range(1, jobs + 1)):
        keeps = all(order.index(a) < order.index(b) for a, b in pairs)
        (right if keeps else wrong).add(" ".join(map(str, order)))
    return (right, wrong) if right else ({"-1"}, wrong - {"-1"})


def brute_night_watch(case_input: str) -> Answers:
    guards, end, *flat = numbers(case_input)
    spans = list(zip(flat[::2], flat[1::2], strict=True))

    def covers(chosen: tuple[int, ...]) -> bool:
        return all(any(spans[g - 1][0] <= m < spans[g - 1][1] for g in chosen) for m in range(end))

    sizes = range(1, guards + 1)
    every = [chosen for n in sizes for chosen in permutations(range(1, guards + 1), n)]
    fewest = min((len(chosen) for chosen in every if covers(chosen)), default=0)
    right = {" ".join(map(str, c)) for c in every if len(c) == fewest and covers(c)} or {"-1"}
    wrong = {" ".join(map(str, c)) for c in every} | {"-1", "0", "1 1", f"{guards + 1}"}
    return right, wrong - right


def brute_crates(case_input: str) -> Answers:
    _, *flat = numbers(case_input)
    crates = sorted(zip(flat[::2], flat[1::2], strict=True))
    nest: list[int] = []
    for w, h in crates:
        inner = [n for n, (x, y) in zip(nest, crates, strict=False) if x < w and y < h]
        nest.append(1 + max(inner, default=0))
    return only(max(nest))


def brute_hedges(case_input: str) -> Answers:
    _, *rows = case_input.split("\n")
    cells = [(r, c) for r in range(len(rows)) for c in range(len(rows[0]))]
    cuts = dict.fromkeys(cells, 10**6) | {(0, 0): 0}
    while True:
        before = dict(cuts)
        for r, c in cells:
            near = [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
            best = min((cuts[n] for n in near if n in cuts), default=10**6)
            cuts[r, c] = min(cuts[r, c], best + (rows[r][c] == "#"))
        if cuts == before:
            return only(cuts[cells[-1]])


BRUTE: dict[str, Callable[[str], Answers]] = {
    "equilibrium-index": brute_equilibrium,
    "leader": brute_leader,
    "best-run": brute_best_run,
    "first-free-number": brute_first_free,
    "bracket-inspector": brute_brackets,
    "ways-to-pay": brute_coins,
    "overtakes": brute_overtakes,
    "wallpaper-period": brute_period,
    "build-order": brute_build_order,
    "night-watch": brute_night_watch,
    "nested-crates": brute_crates,
    "hedge-maze": brute_hedges,
}
FACTORIAL = {"build-order", "night-watch"}  # their brute force is for 6 elements at most


def assert_agrees(problem: Problem, case_input: str) -> None:
    expected = problem.solve(case_input)
    right, wrong = BRUTE[problem.slug](case_input)
    for answer in (*right, expected):
        assert problem.check(case_input, answer, expected), (case_input, answer, expected)
    for answer in wrong:
        assert not problem.check(case_input, answer, expected), (case_input, answer, expected)


def test_reference_and_checker_agree_with_brute_force(problem: Problem) -> None:
    rng = seeded(problem.slug)
    largest = 5 if problem.slug in FACTORIAL else 9
    for _ in range(300):
        case = Case("correctness", "random", rng.randint(1, largest))
        assert_agrees(problem, problem.generate(rng, case))


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug not in FACTORIAL])
def test_correctness_cases_agree_with_brute_force(slug: str) -> None:
    for case, case_input, _ in material(slug):
        if case.group == "correctness":
            assert_agrees(library.get(slug), case_input)


# The inputs keep what the statements promise.

ARRAYS = {
    "equilibrium-index": (50_000, -2_000_000_000, 2_000_000_000),
    "leader": (50_000, -1_000_000_000, 1_000_000_000),
    "best-run": (50_000, -1_000_000_000, 1_000_000_000),
    "first-free-number": (50_000, -1_000_000_000_000, 1_000_000_000_000),
    "overtakes": (70_000, 1, 1_000_000_000),
}
TEXTS = {"bracket-inspector": (50_000, "()[]{}"), "wallpaper-period": (100_000, "abcdefghijxyz")}


def promises(slug: str, case_input: str) -> Iterator[bool]:
    if slug in ARRAYS:
        largest, low, high = ARRAYS[slug]
        size, *values = numbers(case_input)
        yield 1 <= size == len(values) <= largest
        yield low <= min(values) <= max(values) <= high
    elif slug in TEXTS:
        longest, alphabet = TEXTS[slug]
        yield 1 <= len(case_input) <= longest
        yield set(case_input) <= set(alphabet)
    elif slug == "hedge-maze":
        (height, width), rows = numbers(case_input.split("\n")[0]), case_input.split("\n")[1:]
        yield 1 <= height == len(rows) <= 160
        yield 1 <= width <= 160
        yield {len(row) for row in rows} == {width}
        yield rows[0][0] == rows[-1][-1] == "."
        yield set("".join(rows)) <= set(".#")
    else:
        yield from promises_of_pairs(slug, numbers(case_input))


def promises_of_pairs(slug: str, values: list[int]) -> Iterator[bool]:
    if slug == "ways-to-pay":
        kinds, amount, *coins = values
        yield 1 <= kinds == len(set(coins)) == len(coins) <= 10
        yield 0 <= amount <= 20_000
        yield 1 <= min(coins) <= max(coins) <= 1000
    elif slug == "build-order":
        jobs, size, *flat = values
        yield 1 <= jobs <= 15_000
        yield 0 <= size == len(flat) // 2 <= 30_000
        yield all(1 <= job <= jobs for job in flat)
        yield all(a != b for a, b in zip(flat[::2], flat[1::2], strict=True))
    elif slug == "night-watch":
        size, end, *flat = values
        yield 1 <= size == len(flat) // 2 <= 25_000
        yield 1 <= end <= 10**12
        yield -2 * 10**12 <= min(flat) <= max(flat) <= 2 * 10**12
        yield all(a < b for a, b in zip(flat[::2], flat[1::2], strict=True))
    else:
        size, *flat = values
        yield slug == "nested-crates"
        yield 1 <= size == len(flat) // 2 <= 30_000
        yield 1 <= min(flat) <= max(flat) <= 1_000_000_000


def test_inputs_keep_the_constraints(problem: Problem) -> None:
    for case, case_input, _ in material(problem.slug):
        assert all(promises(problem.slug, case_input)), case
    small = [case for case in problem.cases if case.group == "correctness"]
    for n in range(20):
        for case in small:
            case_input = problem.generate(seeded(n), case)
            assert all(promises(problem.slug, case_input)), (case, n)


# The problems as such.


def test_library_holds_what_a_test_needs() -> None:
    assert len(SLUGS) >= 10
    assert "equilibrium-index" in SLUGS
    assert {p.difficulty for p in library.problems().values()} == {"easy", "medium", "hard"}
    assert set(BRUTE) == set(SLUGS)


def test_problem_is_complete(problem: Problem) -> None:
    names = [case.name for case in problem.cases]
    groups = [case.group for case in problem.cases]
    assert len(set(names)) == len(names)
    assert "random" in names
    assert groups.count("correctness") >= 6
    assert groups.count("performance") >= 4
    assert groups == sorted(groups)
    assert problem.points == 100
    assert problem.minutes > 0


def test_statement_has_all_its_parts(problem: Problem) -> None:
    headings = [block.text for block in problem.statement if block.kind == "heading"]
    assert headings == ["Input of one case", "Output of one case", "Constraints", "Example"]
    codes = [block.text for block in problem.statement if block.kind == "code"]
    assert codes == [problem.example_input, problem.example_output]
    assert problem.statement[-1].kind == "text"
    for block in problem.statement:
        assert block.text or block.items
        assert bool(block.items) == (block.kind == "list")
    json.dumps([block.to_dict() for block in problem.statement])


def test_case_goes_through_json(problem: Problem) -> None:
    for case in problem.cases:
        assert Case.from_dict(json.loads(json.dumps(case.to_dict()))) == case


def test_unknown_task_names_what_exists() -> None:
    with pytest.raises(UnknownTask, match=r"No task 'tetris'.*equilibrium-index.*hedge-maze"):
        library.get("tetris")


def test_unknown_case_names_what_exists(problem: Problem) -> None:
    with pytest.raises(UnknownCase, match=rf"{problem.slug}.*'no such'.*'random'"):
        problem.generate(seeded(1), Case("correctness", "no such", 1))


def test_registry_is_read_only() -> None:
    with pytest.raises(TypeError):
        library.problems()["leader"] = library.get("leader")  # type: ignore[index]


# Checkers.


def test_checker_refuses_a_corrupted_answer(problem: Problem) -> None:
    for _, case_input, answer in material(problem.slug):
        assert problem.check(case_input, answer, answer)
        assert problem.check(case_input, f"  {answer}\t", answer)
        for bad in (f"{answer} 1", f"{answer}x", f"{answer}.0", "-2", ""):
            assert not problem.check(case_input, bad, answer), (bad, answer)


WORDS = ["", " ", "\0", "-", "+", "--1", "-1-1", "1_0", "1e9", "0x10", "nan", "None", "[]", "1,2"]
UNICODE = ["٣", "\uff11", "²", "\ud800", "\ufeff1", "1\u200b", "\u2028"]
LONG = ["9" * 1_000_000, "-" + "9" * 5000, "1 " * 500_000, "-1 " * 1000, "{" * 100_000, "😀" * 10]
NASTY = [*WORDS, *UNICODE, *LONG, "9" * 20, "'; DROP TABLE task; --"]


def test_checker_survives_garbage(problem: Problem) -> None:
    cases = material(problem.slug)
    first_large = next(n for n, (case, _, _) in enumerate(cases) if case.group == "performance")
    for _, case_input, answer in cases[: first_large + 1]:
        started = time.process_time()
        for nasty in NASTY:
            assert problem.check(case_input, nasty, answer) is False, nasty[:40]
        assert time.process_time() - started < 5


def test_checkers_accept_other_right_answers() -> None:
    def check(slug: str, case_input: str, answer: str) -> bool:
        problem = library.get(slug)
        return problem.check(case_input, answer, problem.solve(case_input))

    assert [check("equilibrium-index", "3\n0 0 0", f"{i}") for i in range(4)] == [True] * 3 + [
        False
    ]
    assert [check("leader", "3\n8 5 8", f"8 {i}") for i in range(3)] == [True, False, True]
    assert check("build-order", "3 1\n3 1", "3 1 2")
    assert check("build-order", "3 1\n3 1", "2 3 1")
    assert not check("build-order", "3 1\n3 1", "2 1 3")
    assert check("night-watch", "3 9\n0 5\n4 9\n5 9", "3 1")
    assert check("night-watch", "3 9\n0 5\n4 9\n5 9", "1 2")
    assert not check("night-watch", "3 9\n0 5\n4 9\n5 9", "1 2 3")


def test_largest_answers_leave_room_in_an_output(problem: Problem) -> None:
    assert len("\n".join(solution(problem.slug))) < library.MAX_OUTPUT_BYTES / 2


# Input files.


def test_input_file_format(problem: Problem) -> None:
    text = session_input(problem.slug)
    first, *lines = text.split("\n")
    marks = [line for line in lines if line.startswith("case ")]
    assert int(first) == len(problem.cases)
    assert marks == [f"case {k}" for k in range(1, len(problem.cases) + 1)]
    assert lines[0] == "case 1"
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert text.isascii()


def test_input_file_depends_on_the_seed_alone(problem: Problem) -> None:
    assert library.input_file(problem, SEED) == session_input(problem.slug)
    assert library.input_file(problem, "another session") != session_input(problem.slug)


def test_answers_differ_between_sessions(problem: Problem) -> None:
    other = library.judge(problem, "another session", "\n".join(solution(problem.slug)))
    assert other.score < 60


def test_input_file_is_the_same_as_ever(problem: Problem) -> None:
    text = session_input(problem.slug)
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == GOLDEN[problem.slug]


def test_example_file(problem: Problem) -> None:
    assert library.example_file(problem) == f"1\ncase 1\n{problem.example_input}\n"


def test_example_is_right_by_brute_force(problem: Problem) -> None:
    right, _ = BRUTE[problem.slug](problem.example_input)
    assert problem.example_output in right
    assert problem.solve(problem.example_input) in {*right, problem.example_output}


# Judging.


def test_all_right(problem: Problem) -> None:
    started = time.process_time()
    verdict = library.judge(problem, SEED, "\n".join(solution(problem.slug)))
    assert time.process_time() - started < 1
    assert (verdict.correctness, verdict.performance, verdict.score) == (100, 100, problem.points)
    assert all(case.passed for case in verdict.cases)
    assert verdict.note == ""
    json.dumps(verdict.to_dict())


def test_nothing_submitted(problem: Problem) -> None:
    verdict = library.judge(problem, SEED, "")
    assert (verdict.correctness, verdict.performance, verdict.score) == (0, 0, 0)
    assert [case.name for case in verdict.cases] == [case.name for case in problem.cases]
    assert {case.message for case in verdict.cases} == {"No line for this case."}


def test_brute_force_candidate_has_half_of_the_points(problem: Problem) -> None:
    lines = [
        line if case.group == "correctness" else "?"
        for case, line in zip(problem.cases, solution(problem.slug), strict=True)
    ]
    verdict = library.judge(problem, SEED, "\n".join(lines))
    assert (verdict.correctness, verdict.performance, verdict.score) == (100, 0, 50)
    assert verdict.cases[-1].message == "Wrong answer: ?"


def test_score_counts_within_groups_and_rounds_down() -> None:
    leader = library.get("leader")  # nine correctness cases and four performance cases
    lines = ["?" if k in (0, 12) else line for k, line in enumerate(solution("leader"))]
    verdict = library.judge(leader, SEED, "\n".join(lines))
    assert (verdict.correctness, verdict.performance, verdict.score) == (88, 75, 81)


def test_task_without_performance_cases_is_not_assessed_for_it() -> None:
    fields = {name: getattr(library.get("leader"), name) for name in Problem.__dataclass_fields__}
    problem = Problem(**{**fields, "recipes": fields["recipes"][:9]})
    verdict = library.judge(problem, SEED, "\n".join(solution("leader")[:8]))
    assert (verdict.correctness, verdict.performance, verdict.score) == (88, None, 88)


@pytest.mark.parametrize("constant", ["-1", "0", "1", "1 2"])
def test_constant_answer_scores_little(problem: Problem, constant: str) -> None:
    passed = [problem.check(text, constant, answer) for _, text, answer in material(problem.slug)]
    assert sum(passed) <= len(passed) / 3


def assert_judged_as_right(output: str) -> None:
    assert library.judge(library.get("best-run"), SEED, output).score == 100


def test_line_ends_blank_lines_and_byte_order_mark_do_not_matter() -> None:
    lines = solution("best-run")
    assert_judged_as_right("\r\n".join(lines))
    assert_judged_as_right("\r".join(lines) + "\r")
    assert_judged_as_right("\ufeff" + "\n".join(lines))
    assert_judged_as_right("\n\n" + "\n \n".join(lines) + "\n\n \t\n")
    assert_judged_as_right("\n".join(f" {line} " for line in lines))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_uploaded_file_is_decoded(encoding: str) -> None:
    assert_judged_as_right(
        library.decode_output("\r\n".join(solution("best-run")).encode(encoding))
    )


def test_uploaded_garbage_is_decoded_to_storable_text() -> None:
    assert library.decode_output(b"\xff\x00\x81 7") == "\ufffd\ufffd\ufffd 7"
    assert library.decode_output(b"\xff\xfe7") == "\ufffd"


def test_missing_lines_make_the_last_cases_wrong() -> None:
    verdict = library.judge(library.get("best-run"), SEED, "\n".join(solution("best-run")[:-1]))
    assert [case.passed for case in verdict.cases] == [True] * 11 + [False]
    assert verdict.note == "11 lines for 12 cases: those without a line count as wrong."


def test_lines_beyond_the_cases_are_ignored() -> None:
    output = "\n".join([*solution("best-run"), "done", "in 3 s"])
    verdict = library.judge(library.get("best-run"), SEED, output)
    assert verdict.score == 100
    assert verdict.note == "14 lines for 12 cases: the last 2 were ignored."


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_judge_and_example_survive_garbage(nasty: str) -> None:
    for problem in library.problems().values():
        assert library.judge(problem, SEED, nasty).score < 10  # a lone 1 may be right once
        assert library.check_example(problem, nasty)[0] is False


def test_message_shows_a_printable_start_of_the_answer() -> None:
    verdict = library.judge(library.get("best-run"), SEED, "a\x1b[31m" + "b" * 99)
    assert verdict.cases[0].message == "Wrong answer: a\ufffd[31m" + "b" * 34 + "…"


def test_output_above_the_bound_is_refused() -> None:
    problem = library.get("leader")
    library.judge(problem, SEED, "x" * library.MAX_OUTPUT_BYTES)
    for large in ("x" * (library.MAX_OUTPUT_BYTES + 1), "é" * (library.MAX_OUTPUT_BYTES // 2 + 1)):
        with pytest.raises(SubmissionTooLarge, match="at most 1,048,576"):
            library.judge(problem, SEED, large)
        with pytest.raises(SubmissionTooLarge):
            library.check_example(problem, large)
        with pytest.raises(SubmissionTooLarge):
            library.decode_output(large.encode())


def test_example_check(problem: Problem) -> None:
    assert library.check_example(problem, problem.example_output + "\r\n") == (True, "Right.")
    assert library.check_example(problem, problem.solve(problem.example_input))[0]
    ok, message = library.check_example(problem, "-77")
    assert not ok
    assert message == f"Wrong: -77 where {problem.example_output} is a right answer."
    ok, message = library.check_example(problem, "1\n2")
    assert (ok, message) == (False, "The example is one case: expected one line, got 2.")


def test_statement_orders_the_registry_by_difficulty() -> None:
    ranks = [["easy", "medium", "hard"].index(p.difficulty) for p in library.problems().values()]
    assert all(a <= b for a, b in pairwise(ranks))
