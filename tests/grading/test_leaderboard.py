"""Ranks, ties, budgets, pseudonyms, and the Pareto front."""

import csv
from typing import Any

import numpy as np
import pytest

from mlopt_edu.grading.leaderboard import Leaderboard, leaderboard, pseudonyms
from mlopt_edu.grading.leaderboard_page import leaderboard_page

from .test_feedback import Page

SECRET = b"a secret of the class"


def record(student: str, accuracy: float, size: float, **more: Any) -> dict[str, Any]:
    metrics = {"accuracy": accuracy, "bytes": size, "macs": 10.0}
    report = {"task": "capstone", "metrics": metrics}
    return {"submission": student, "student": student, "reports": [report], **more}


CLASS = [
    record("ada", 0.9, 5000),
    record("bob", 0.9, 4000),
    record("cyd", 0.8, 1000),
    record("dan", 0.7, 2000),
    record("eve", 0.99, 90_000),
    record("ada", 0.5, 100),  # another attempt of hers
    {"submission": "fay", "student": "fay", "reports": []},
    {"submission": "gus", "reports": [{"task": "capstone", "metrics": {}}]},
    {"submission": "hal", "reports": [{"task": "double", "points": 1}]},
]


def board(records: Any = CLASS, **options: Any) -> Leaderboard:
    options = {"budget": {"bytes": 10_000}, "real_names": True, **options}
    return leaderboard(records, task="capstone", secret=SECRET, **options)


def test_ranks_ties_and_budget() -> None:
    found = [(one.name, one.rank, one.front) for one in board().lines]
    assert found == [
        ("bob", 1, True), ("ada", 1, False), ("cyd", 3, True), ("dan", 4, False),
        ("eve", None, False),
    ]  # fmt: skip


def test_less_is_better_of_bytes() -> None:
    lines = board(by="bytes", cost="accuracy").lines
    assert [(one.name, one.rank) for one in lines[:2]] == [("ada", 1), ("cyd", 2)]
    assert lines[0].metrics["bytes"] == 100


def test_without_a_budget_all_are_ranked() -> None:
    assert board(budget=None).lines[0].name == "eve"


def test_the_front_is_what_nobody_beats() -> None:
    rng = np.random.default_rng(1)
    records = [
        record(f"s{i}", float(a), float(b))
        for i, (a, b) in enumerate(rng.integers(0, 30, (60, 2)))
    ]
    lines = board(records).lines
    for one in lines:
        a, b = one.metrics["accuracy"], one.metrics["bytes"]
        beaten = any(
            o.metrics["accuracy"] >= a
            and o.metrics["bytes"] <= b
            and (o.metrics["accuracy"], o.metrics["bytes"]) != (a, b)
            for o in lines
        )
        assert one.front != beaten
        better = sum(o.metrics["accuracy"] > a for o in lines)
        assert one.rank == 1 + better
    assert sum(one.front for one in lines) > 1


def test_names_are_pseudonyms_that_need_the_secret() -> None:
    shown = board(real_names=False)
    names = [one.name for one in shown.lines]
    assert len(set(names)) == 5
    page = leaderboard_page(shown)
    text = shown.csv() + page
    assert not any(name in Page(page).text for name in ("ada", "bob", "eve"))
    assert not any(name in shown.csv() for name in ("ada", "bob", "eve"))
    assert all(name in text for name in names)
    again = pseudonyms(["ada", "bob"], SECRET)
    assert again["ada"] in names
    assert pseudonyms(["ada"], SECRET + b"!")["ada"] != again["ada"]
    with pytest.raises(ValueError, match="secret must have at least 16 bytes, got 5"):
        leaderboard(CLASS, task="capstone", secret=b"short")


def test_many_students_have_different_names() -> None:
    assert len(set(pseudonyms(map(str, range(5000)), SECRET).values())) == 5000


def test_a_student_sees_the_own_line() -> None:
    shown = board(real_names=False)
    own = pseudonyms(["ada"], SECRET)["ada"]
    assert f"{own} (you)" in Page(leaderboard_page(shown, own="ada")).text
    assert "(you)" not in leaderboard_page(shown)
    assert Page(leaderboard_page(shown, own="ada")).text.count("(you)") == 1


def test_the_table_and_the_page_agree() -> None:
    rows = list(csv.DictReader(board().csv().splitlines()))
    assert rows[0] == {
        "rank": "1", "name": "bob", "pareto_front": "1", "accuracy": "0.9",
        "bytes": "4000", "macs": "10.0",
    }  # fmt: skip
    assert rows[-1]["rank"] == ""
    text = Page(leaderboard_page(board())).text
    assert "over budget" in text
    assert "90.0%" in text


def test_a_name_is_never_markup_or_a_formula() -> None:
    shown = board([record("=<script>", 0.5, 10)])
    assert "<script" not in leaderboard_page(shown)
    assert "'=<script>" in shown.csv()


def test_an_empty_board_is_a_page() -> None:
    assert Page(leaderboard_page(board([]))).elements
    assert board([]).csv() == "rank,name,pareto_front,accuracy,bytes\n"
