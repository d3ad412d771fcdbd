"""Answers are found wherever an honest learner may have put them, and only there."""

import ast
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt_edu.grading.cells import MAX_PARTS
from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.extract import Submission, extract, read_submission
from mlopt_edu.grading.notebook import Notebook
from mlopt_edu.grading.untrusted import MAX_FILE, UnreadableError

from .conftest import ANSWERS, code, text

CORPUS = Path(__file__).parent / "submissions"
WHOLE = (CORPUS / "v4_5.ipynb.txt").read_bytes()
TASKS = set(ANSWERS)

Read = Callable[..., Submission]


@pytest.fixture
def read(exercise: Exercise) -> Read:
    """Return a function that reads a notebook, or bytes."""

    def run(content: Notebook | bytes | str, **options: Any) -> Submission:
        if isinstance(content, dict):
            content = json.dumps(content)
        data = content.encode() if isinstance(content, str) else content
        return extract(data, [exercise], **options)

    return run


def outcome(submission: Submission) -> dict[str, Any]:
    """Return what the answers come to when they are run, helpers and all."""
    names: dict[str, Any] = {}
    exec(
        submission.exercise.setup.replace("from mlopt_edu.checks import check", ""),
        names,
    )
    for source in submission.answers.values():
        exec(source, names)
    return {
        "double": names["double"](4),
        "descend": names["descend"](1.0, 0.25, 2),
        "best_step": names["best_step"],
        "smallest": names["smallest"],
    }


RIGHT = {"double": 8, "descend": 0.25, "best_step": "b", "smallest": 0.625}


def cell(notebook: Notebook, name: str) -> dict[str, Any]:
    return next(c for c in notebook["cells"] if c["id"] == name)


# What tools save.


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.txt")), ids=lambda p: p.stem)
def test_what_tools_save_is_read(
    path: Path, exercise: Exercise, tmp_path: Path
) -> None:
    copied = tmp_path / path.stem  # without .txt
    copied.write_bytes(path.read_bytes())
    submission = read_submission(copied, [exercise])
    assert set(submission.answers) == TASKS
    assert outcome(submission) == RIGHT
    by_name = path.stem in ("v2.ipynb", "no_metadata.ipynb") or path.stem[-3:] == ".py"
    assert (
        any("no cell carries a task's name" in n for n in submission.notes) == by_name
    )


def test_the_corpus_is_what_the_tools_write_today() -> None:
    from .submissions import build

    assert {path.stem: path.read_text() for path in CORPUS.glob("*.txt")} == {
        name: text.rstrip("\n") + "\n" for name, text in build.files().items()
    }


# Encodings.


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("cp1252", "Windows-1252"),
        ("latin-1", "Windows-1252"),
    ],
)
def test_encodings(encoding: str, note: str | None, answered: Any, read: Read) -> None:
    notebook = answered(best_step='best_step = "b"  # größte Schrittweite')
    whole = json.dumps(notebook, ensure_ascii=False).encode(encoding)
    submission = read(whole)
    assert outcome(submission) == RIGHT
    assert "größte" in submission.answers["best_step"]
    assert [str(note) in one for one in submission.notes] == [True] * (note is not None)


def test_bytes_that_windows_has_not(answered: Any, read: Read) -> None:
    notebook = answered(best_step='best_step = "b"  # \x81')
    whole = json.dumps(notebook, ensure_ascii=False).encode("latin-1")
    assert outcome(read(whole)) == RIGHT


def test_line_ends_and_marks_in_a_cell(answered: Any, read: Read) -> None:
    source = "\ufeffdef double(x):\r\n\treturn 2 * x\r"
    submission = read(answered(double=source))
    assert submission.answers["double"] == "def double(x):\n\treturn 2 * x\n"
    assert outcome(submission) == RIGHT


def test_half_a_surrogate_can_be_written(answered: Any, read: Read) -> None:
    submission = read(answered(double="def double(x): return 2 * x  # \ud800"))
    assert submission.answers["double"].encode()


# Cells out of their place.


def test_reordered_cells(answered: Any, read: Read) -> None:
    notebook = answered()
    notebook["cells"].reverse()
    submission = read(notebook)
    assert list(submission.answers) == list(reversed(ANSWERS))
    assert submission.notes == []


def test_an_answer_in_a_new_cell_counts(answered: Any, read: Read) -> None:
    notebook = answered(double="def double(x):\n    return x")
    place = notebook["cells"].index(cell(notebook, "check-double"))
    notebook["cells"].insert(place, code("3f2a91bc", "double = lambda x: x + x"))
    submission = read(notebook)
    assert outcome(submission) == RIGHT
    assert list(submission.notes) == [
        "found by the names that they define, in other cells than their own: double"
    ]


def test_what_comes_after_the_check_is_an_experiment(answered: Any, read: Read) -> None:
    notebook = answered()
    notebook["cells"].append(code("3f2a91bc", "double = lambda x: 0"))
    submission = read(notebook)
    assert outcome(submission) == RIGHT
    assert submission.notes == []


def test_unless_its_own_cell_was_not_written(
    answered: Any, exercise: Exercise, read: Read
) -> None:
    for own in (exercise.stubs["double"], "  \n", None):
        notebook = answered(double=own or "")
        if own is None:
            notebook["cells"].remove(cell(notebook, "double"))
        notebook["cells"].append(code("3f2a91bc", ANSWERS["double"]))
        assert outcome(read(notebook)) == RIGHT


def test_a_renamed_cell_that_is_as_released_is_blank(
    answered: Any, exercise: Exercise, read: Read
) -> None:
    notebook = answered(double=exercise.stubs["double"])
    cell(notebook, "double").update(id="3f2a91bc", metadata={})
    assert read(notebook).answers["double"] == exercise.stubs["double"]
    assert read(notebook).notes == []


def test_merged_cells(answered: Any, read: Read) -> None:
    notebook = answered()
    merged = "\n\n".join(ANSWERS[name] for name in ("double", "descend", "smallest"))
    cell(notebook, "double")["source"] = merged
    for name in ("descend", "smallest"):
        notebook["cells"].remove(cell(notebook, name))
    submission = read(notebook)
    assert set(submission.answers) == TASKS
    assert outcome(submission) == RIGHT
    assert "double" not in submission.answers["descend"]


def test_a_split_cell(answered: Any, read: Read) -> None:
    """JupyterLab gives both halves the metadata, and one of them a new id."""
    notebook = answered(smallest="smallest = eighth * 5")
    own = cell(notebook, "smallest")
    first = {**copy.deepcopy(own), "id": "3f2a91bc", "source": "eighth = 1 / 8"}
    after = {**copy.deepcopy(own), "id": "3f2a91bd", "source": "print(smallest)"}
    place = notebook["cells"].index(own)
    notebook["cells"][place : place + 1] = [first, own, after]
    submission = read(notebook)
    assert outcome(submission) == RIGHT
    assert submission.answers["smallest"] == "eighth = 1 / 8\nsmallest = eighth * 5"
    assert list(submission.notes) == ["3 cells answer 'smallest'; the last one counts"]


def test_the_last_copy_that_defines_the_task_counts(answered: Any, read: Read) -> None:
    notebook = answered(double="def double(x): return x")
    copies = [ANSWERS["double"], "double(3)", ""]
    own = cell(notebook, "double")
    notebook["cells"] += [
        {**own, "id": str(i), "source": s} for i, s in enumerate(copies)
    ]
    assert outcome(read(notebook)) == RIGHT


@pytest.mark.parametrize("kind", ["markdown", "raw", "heading", None, 3])
def test_an_answer_that_is_no_code_any_more(
    kind: object, answered: Any, read: Read
) -> None:
    notebook = answered()
    cell(notebook, "double")["cell_type"] = kind
    submission = read(notebook)
    assert set(submission.answers) == TASKS - {"double"}
    assert list(submission.notes) == [
        "the cell of 'double' is not a code cell any more, so it was not run"
    ]


def test_a_deleted_answer_is_missing(answered: Any, read: Read) -> None:
    notebook = answered()
    notebook["cells"].remove(cell(notebook, "double"))
    assert set(read(notebook).answers) == TASKS - {"double"}


def test_too_long_an_answer(answered: Any, read: Read) -> None:
    submission = read(answered(double="#" * 20_001))
    assert set(submission.answers) == TASKS - {"double"}
    assert "more than 20,000 characters" in submission.notes[0]


# What an answer needs from other cells, and nothing else.


def extra(notebook: Notebook, *sources: str, at: int = 0) -> Notebook:
    cells = [code(f"3f2a91b{i}", source) for i, source in enumerate(sources)]
    notebook["cells"][at:at] = cells
    return notebook


def test_helpers_come_along_and_nothing_else(answered: Any, read: Read) -> None:
    double = "%time\ndef double(x):\n    return twice(x) + math.floor(zero)"
    helpers = (
        "%matplotlib inline\nimport math\nraise SystemExit",
        "zero = 0.5; unused = crash()\n\n@cached\ndef twice(x):\n    return two * x",
        "def cached(function):\n    return function\nplot(everything)",
        "two = 2\nwhile True: pass",
    )
    submission = read(extra(answered(double=double), *helpers))
    assert submission.answers["double"] == (
        "import math\nzero = 0.5; unused = crash()\n@cached\n"
        "def twice(x):\n    return two * x\n"
        "def cached(function):\n    return function\ntwo = 2\n" + double
    )
    assert all("while" not in answer for answer in submission.answers.values())


def test_the_helper_in_force_counts(answered: Any, read: Read) -> None:
    notebook = answered(double="def double(x): return factor * x")
    extra(notebook, "factor = 3", "factor = 2")
    notebook["cells"].append(code("3f2a91bf", "factor = 'later'"))
    assert outcome(read(notebook)) == RIGHT


def test_a_helper_below_its_answer(answered: Any, read: Read) -> None:
    notebook = answered(double="def double(x): return twice(x)")
    notebook["cells"].append(code("3f2a91bf", "def twice(x): return 2 * x"))
    assert outcome(read(notebook)) == RIGHT


def test_an_import_added_to_the_setup(answered: Any, read: Read) -> None:
    notebook = answered(double="def double(x): return operator.mul(x, 2)")
    cell(notebook, "setup")["source"] += "\nimport operator\nnp = None"
    assert outcome(read(notebook)) == RIGHT
    assert "np = None" not in read(notebook).answers["double"]


def test_a_star_import(answered: Any, read: Read) -> None:
    notebook = answered(double="def double(x): return mul(x, 2)")
    assert outcome(read(extra(notebook, "from operator import *"))) == RIGHT


def test_an_answer_that_calls_another_gets_no_copy(answered: Any, read: Read) -> None:
    source = "def descend(w, lr, steps):\n    return double(w) / 8 * steps / 2"
    submission = read(answered(descend=source))
    assert submission.answers["descend"] == source


def test_the_future_stays_in_front(answered: Any, read: Read) -> None:
    source = "from __future__ import annotations\ndef double(x): return two * x"
    submission = read(extra(answered(double=source), "two = 2"))
    assert submission.answers["double"].startswith("from __future__")
    assert outcome(submission) == RIGHT


def test_helpers_that_need_each_other_end(answered: Any, read: Read) -> None:
    double = "def double(x): return even(x) or 2 * x"
    even = "def even(x): return x and odd(x - 1)"
    odd = "def odd(x): return x and even(x - 1)"
    assert outcome(read(extra(answered(double=double), even, odd))) == RIGHT


def test_too_much_help(answered: Any, read: Read) -> None:
    double = "def double(x): return table and 2 * x"
    notebook = extra(answered(double=double), f"table = '{'a' * 20_000}'")
    submission = read(notebook)
    assert submission.answers["double"] == double
    assert list(submission.notes) == [
        "what 'double' uses from other cells is too long to run"
    ]


def test_a_broken_answer_stays_as_it_is(answered: Any, read: Read) -> None:
    broken = "def double(x)\n    return twice(x)"
    notebook = extra(answered(double=broken), "def twice(x): return 2 * x", "def (")
    assert read(notebook).answers["double"] == broken


def test_a_broken_script_is_shown_with_its_error(read: Read) -> None:
    submission = read("def double(x):\n    return 2 * x\n\nprint(", is_script=True)
    assert list(submission.answers) == ["double"]
    with pytest.raises(SyntaxError):
        ast.parse(submission.answers["double"])


def test_a_script_loses_one_cell_not_all(read: Read) -> None:
    script = f"# %% a\n{ANSWERS['double']}\n# %% b\nprint(\n# %% [markdown]\n# x = (\n"
    submission = read(script + f"#%%\n{ANSWERS['smallest']}", is_script=True)
    assert dict(submission.answers) == {
        name: ANSWERS[name] for name in ("double", "smallest")
    }


def test_what_a_script_does_besides_is_not_run(read: Read) -> None:
    loop = "for i in range(6):\n    best = i / 8"
    script = f"input()\n{loop}\nimport antigravity\nsmallest = best\nexit()"
    submission = read(script, is_script=True)
    assert dict(submission.answers) == {"smallest": f"{loop}\nsmallest = best"}


def test_strings_are_not_definitions(answered: Any, read: Read) -> None:
    notebook = answered()
    note = '"""\ndouble = 3\n"""\nx == 3\nif double == 4: pass\nif 1:\n  double = 2'
    assert outcome(read(extra(notebook, note))) == RIGHT


# JSON that is odd but readable.


def test_odd_json_is_read(answered: Any, read: Read) -> None:
    whole = json.dumps(answered())
    odd = [
        whole.replace('"nbformat": 4', '"nbformat": 4, "x": NaN, "y": [-Infinity]'),
        whole.replace('"nbformat": 4', f'"nbformat": 4, "x": {"9" * 10**6}'),
        whole.replace('"nbformat": 4', '"nbformat": 99'),
        whole.replace('"nbformat": 4', '"nbformat": {}'),
        whole.replace('{"cells"', '{"cells": 7, "cells"'),
        whole.replace('"cells": [', '"cells": [1, null, [], "x", {}, {"source": 3}, '),
        whole.replace('"metadata": {', '"metadata": null, "metadata": {'),
        whole.replace('"outputs": []', '"outputs": {"a": 1}'),
        " \n" + whole + "\n\n",
    ]
    for changed in odd:
        assert changed != whole
        assert outcome(read(changed)) == RIGHT


def test_sources_of_every_type(answered: Any, read: Read) -> None:
    notebook = answered()
    cell(notebook, "double")["source"] = ["def double(x):\n", 3, "    return 2 * x"]
    assert outcome(read(notebook)) == RIGHT
    for odd in (3, None, {"a": 1}, [["x"]], True):
        cell(notebook, "double")["source"] = odd
        assert set(read(notebook).answers) == TASKS  # blank
        assert read(notebook).answers["double"] == ""


def test_names_of_every_type(answered: Any, read: Read) -> None:
    odd: Any
    for odd in (3, None, [], {"grade_id": 3}, {"grade_id": ["double"]}):
        notebook = answered()
        for one in notebook["cells"]:
            one["metadata"] = {"nbgrader": odd, "id": odd}
        assert outcome(read(notebook)) == RIGHT


# What is no notebook: one sentence that says what to do.


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf \r\n", "the file is empty"),
        (b"\0" * 4096, "the file is empty"),
        (WHOLE[:900], "the file ends too early, at line"),
        (WHOLE[:-3], "the file ends too early, at line"),
        (WHOLE[:200] + WHOLE[240:], "not valid JSON at line"),
        (b"print('hello')", "not valid JSON at line 1; open it in JupyterLab"),
        (b"[]", "it is JSON without cells"),
        (b'{"a": 1}', "it is JSON without cells"),
        (b'{"cells": 1, "worksheets": {}}', "it is JSON without cells"),
        (b"9" * 10**6, "it is JSON without cells"),
        (b"[" * 200_000, "it is nested too deeply"),
        (b'{"cells": ' + b"[" * 9**5 + b"]" * 9**5 + b"}", "is nested too deeply"),
        (b"[" + b"[]," * MAX_PARTS, f"more than {MAX_PARTS:,} parts"),
        (b"PK\3\4", "the file is a zip archive, not a notebook"),
        (b"%PDF-1.7", "the file is a PDF, not a notebook"),
        (b"<!DOCTYPE html><title>Log in", "the file is a web page, not a notebook"),
        (b"\xff\xfe\x00\xd8", "the file is damaged: it is not text"),
        (b'{"cells": []}', "no answer cell of any exercise of this course"),
        (b'{"cells": [{"cell_type": "code", "metadata": 3}]}', "no answer cell"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_what_is_no_notebook(data: bytes, sentence: str, read: Read) -> None:
    with pytest.raises(UnreadableError) as caught:
        read(data)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_script_without_answers(read: Read) -> None:
    with pytest.raises(UnreadableError, match="the script holds no answer cell"):
        read("x = 1", is_script=True)
    with pytest.raises(UnreadableError, match="more than 1,000,000 characters"):
        read("double = 1\n" * 100_000, is_script=True)


def test_the_exercise_is_the_one_answered_most(exercise: Exercise, read: Read) -> None:
    other = Exercise("90_other", {"double": exercise.tasks["double"]}, "", {})
    for order in ([exercise, other], [other, exercise]):
        assert extract(WHOLE, order).exercise is exercise


# Whatever the bytes: an answer or a reason.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["cells", "source", "metadata", "nbgrader", "grade_id", "id", "input",
                 "cell_type", "worksheets", "code", "nbformat"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=5,
)  # fmt: skip


def is_fine(data: bytes, exercise: Exercise, *, is_script: bool = False) -> bool:
    """Read, and check what must hold of every reading."""
    try:
        submission = extract(data, [exercise], is_script=is_script)
    except UnreadableError as error:
        return 10 < len(str(error)) < 300 and "\n" not in str(error)
    return submission.answers.keys() <= exercise.tasks.keys() and all(
        len(answer) <= 20_000 and answer.encode() is not None
        for answer in submission.answers.values()
    )


@given(st.data())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_damaged_bytes(exercise: Exercise, data: st.DataObject) -> None:
    raw = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4)
        )
    del raw[data.draw(st.integers(1, 2 * len(WHOLE))) :]
    assert is_fine(bytes(raw), exercise)
    assert is_fine(bytes(raw), exercise, is_script=True)


@given(st.data())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_replaced_values(exercise: Exercise, data: st.DataObject) -> None:
    """Walk down a real notebook and put something else somewhere."""
    notebook = whole = json.loads(WHOLE)
    for _ in range(data.draw(st.integers(0, 4))):
        keys = list(notebook) if isinstance(notebook, dict) else range(len(notebook))
        key = data.draw(st.sampled_from(list(keys))) if keys else None
        if key is None or not isinstance(notebook[key], (dict, list)):
            break
        notebook = notebook[key]
    keys = list(notebook) if isinstance(notebook, dict) else range(len(notebook))
    if keys:
        notebook[data.draw(st.sampled_from(list(keys)))] = data.draw(JSON)
    assert is_fine(json.dumps(whole).encode(), exercise)


@given(JSON)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_json(exercise: Exercise, value: Any) -> None:
    assert is_fine(json.dumps(value).encode(), exercise)


def test_the_largest_files_are_bounded(exercise: Exercise) -> None:
    """What costs most to read is still read, or refused."""
    many = json.dumps({"cells": [code("double", "x = helper")] * 5_000}).encode()
    tall = json.dumps({"cells": [code("x", f"double{'=1;' * 9**4}")]}).encode()
    wide = b"def double(x):\n" + b"    x = a.b.c[d](e, *f)\n" * 20_000
    assert is_fine(many, exercise)
    assert is_fine(tall, exercise)
    assert is_fine(wide, exercise, is_script=True)
    assert max(map(len, (many, tall, wide))) < MAX_FILE
    chain = [code("x", f"h{i} = h{i + 1}") for i in range(5_000)]
    first = code("double", "double = " + "+".join(f"h{i}" for i in range(2000)))
    assert is_fine(json.dumps({"cells": [first, *chain]}).encode(), exercise)
    alike = [code("x", "b=1;" * 2000)] * 200
    assert is_fine(json.dumps({"cells": [first, *alike]}).encode(), exercise)
    assert is_fine(text_cells(), exercise)


def text_cells() -> bytes:
    return json.dumps({"cells": [text("double", "a")] * 5_000}).encode()
