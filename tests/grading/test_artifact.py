"""Weights as answers: read safely, judged on hidden data, scored by levels."""

import io
import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from mlopt_edu import cli
from mlopt_edu.checks import Artifact
from mlopt_edu.grading.artifact import judge_weights
from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.grade import check_notebook, grade_folder
from mlopt_edu.grading.leaderboard_page import write_leaderboard
from mlopt_edu.grading.weights import WeightsError, parse_weights

MAX = 4000
SIDES = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])


def small() -> nn.Module:
    return nn.Linear(2, 2)


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def two_clouds(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points left and right of a line; a tenth are labelled at random."""
    x = rng.normal(size=(400, 2))
    label = (x.sum(axis=1) < 0).astype(np.int64)
    label[:40] = rng.integers(0, 2, 40)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(label)


@pytest.fixture(scope="module")
def task() -> Artifact:
    return Artifact(
        "capstone", section="92 · Capstone", models={"small": small, "normed": normed},
        data=two_clouds, levels={0.6: 2, 0.9: 5}, max_bytes=MAX, hints=("Train it.",),
    )  # fmt: skip


GOOD = {"weight": SIDES, "bias": torch.zeros(2)}


def raw(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(start: int, end: int, **other: Any) -> dict[str, Any]:
    shape = [(end - start) // 4]
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end], **other}


def test_good_weights_earn_all_points(task: Artifact) -> None:
    data = save(GOOD)
    report = judge_weights(task, data, seed=3)
    assert (report.status, report.points, report.max_points) == ("passed", 5, 5)
    assert report.exercise.startswith("92_")
    inputs, labels = two_clouds(np.random.default_rng(3))
    expected = ((inputs.sum(dim=1) < 0) == labels.bool()).float().mean().item()
    assert report.metrics["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert report.metrics["bytes"] == len(data)
    assert report.metrics["macs"] == 4  # a matrix of 2 by 2, once
    assert f"{len(data)} of 4,000 bytes" in report.message


def test_a_level_between_earns_part(task: Artifact) -> None:
    """One coordinate alone is right three times of four."""
    weights = {"weight": torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), "bias": GOOD["bias"]}
    report = judge_weights(task, save(weights), seed=3)
    assert 0.6 < report.metrics["accuracy"] < 0.9
    assert (report.status, report.points) == ("wrong", 2)
    assert "90.0% earn 5 points" in report.message
    assert report.hints == ("Train it.",)


def test_the_seed_draws_the_data_and_nothing_else(task: Artifact) -> None:
    data = save({"weight": torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), "bias": SIDES[0]})
    before = torch.get_rng_state()
    first = judge_weights(task, data, seed=3)
    assert first == judge_weights(task, data, seed=3)
    assert first.metrics != judge_weights(task, data, seed=4).metrics
    assert torch.equal(before, torch.get_rng_state())


def test_the_file_may_choose_another_model_of_the_course(task: Artifact) -> None:
    model = normed()
    nn.init.zeros_(model.get_parameter("0.bias"))
    model.get_parameter("0.weight").data.copy_(SIDES)
    report = judge_weights(task, save(model.state_dict(), {"model": "normed"}), seed=3)
    assert report.status == "passed"
    report = judge_weights(task, save(GOOD, {"model": "../evil"}), seed=3)
    assert "must name a model of small, normed, got '../evil'" in report.message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_floating_type_counts(task: Artifact, dtype: torch.dtype) -> None:
    data = save({name: tensor.to(dtype) for name, tensor in GOOD.items()})
    assert judge_weights(task, data, seed=3).status == "passed"


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"weight": SIDES}, "'bias' is missing"),
        ({**GOOD, "extra": torch.ones(1)}, "'extra' is not one of the model's"),
        ({**GOOD, "bias": torch.zeros(3)}, "must have shape (2,), got (3,)"),
        ({**GOOD, "bias": torch.zeros(2).long()}, "must be of type float32, got int64"),
        ({**GOOD, "bias": torch.full((2,), torch.nan)}, "numbers that are not finite"),
        (
            {**GOOD, "bias": torch.full((2,), 1e300, dtype=torch.float64)},
            "numbers that are not finite",
        ),
        ({}, "is missing"),
    ],
)
def test_weights_that_do_not_fit(task: Artifact, weights: Any, sentence: str) -> None:
    report = judge_weights(task, save(weights), seed=3)
    assert (report.status, report.points, report.metrics) == ("wrong", 0, {})
    assert sentence in report.message


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "its header is cut off"),
        (b"\x01", "its header is cut off"),
        (b"\xff" * 8, "its header is cut off"),
        (b"\x80\x04cposix\nsystem\n.", "its header is cut off"),
        (struct.pack("<Q", 2**20) + bytes(2**20), "at most 262,144 bytes"),
        (raw(b"{"), "it is not JSON"),
        (raw(b"[" * 60_000), "it is not JSON"),
        (raw(b'{"a":' + b"9" * 50_000 + b"}"), "it is not JSON"),
        (raw(b"\xff\xfe{}"), "it is not JSON"),
        (raw([1]), "must be an object"),
        (raw(b'{"a":1,"a":2}'), "a name occurs twice"),
        (raw({"__metadata__": {"model": 1}}), "must be texts by name"),
        (raw({"__metadata__": []}), "must be texts by name"),
        (raw({"a": 1}), "must have dtype, shape and data_offsets"),
        (raw({"a": entry(0, 8, more=1)}, bytes(8)), "must have dtype, shape and"),
        (raw({"a": entry(0, 8, dtype="PY")}, bytes(8)), "a dtype that is not known"),
        (raw({"a": entry(0, 8, dtype=[])}, bytes(8)), "a dtype that is not known"),
        (raw({"a": entry(0, 8, shape=[-2])}, bytes(8)), "a short list of sizes"),
        (raw({"a": entry(0, 8, shape=[True, 2])}, bytes(8)), "a short list of sizes"),
        (raw({"a": entry(0, 8, shape=[1] * 9)}, bytes(8)), "a short list of sizes"),
        (raw({"a": entry(0, 8, shape=[2**60])}, bytes(8)), "a short list of sizes"),
        (raw({"a": entry(0, 8, shape=[2**40])}, bytes(8)), "size of its shape"),
        (raw({"a": entry(0, 8, data_offsets=[0])}, bytes(8)), "must be two places"),
        (raw({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "overlaps another"),
        (raw({"a": entry(0, 8), "b": entry(12, 16)}, bytes(16)), "leaves a hole"),
        (raw({"a": entry(0, 8)}, bytes(9)), "must fill the file exactly"),
        (raw({"a": entry(0, 8)}, bytes(4)), "must fill the file exactly"),
        (raw({str(i): entry(0, 0) for i in range(2001)}), "at most 2,000 tensors"),
    ],
)  # fmt: skip
def test_broken_files(data: bytes, sentence: str) -> None:
    with pytest.raises(WeightsError, match=sentence):
        parse_weights(data, max_bytes=2**21)


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_changed_files_are_read_or_refused(data: st.DataObject) -> None:
    good = bytearray(save(GOOD, {"model": "small"}))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    for one in (bytes(good), cut):
        try:
            weights = parse_weights(one, max_bytes=MAX)
        except WeightsError:
            continue
        assert sum(tensor.nbytes for tensor in weights.tensors.values()) < len(one)


def test_a_pickle_is_no_answer(task: Artifact, tmp_path: Path) -> None:
    """torch.save writes a zip with a pickle in it: it is never opened."""

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "owned"),))

    file = tmp_path / "capstone.safetensors"
    torch.save({"weight": Touch()}, file)
    report = judge_weights(task, file.read_bytes(), seed=3)
    assert report.status == "wrong"
    assert "not a safetensors file" in report.message
    assert not (tmp_path / "owned").exists()


# In a class: the file lies beside the notebook.


@pytest.fixture
def capstone(task: Artifact, exercise: Exercise) -> Exercise:
    """The small exercise, which now asks for weights too."""
    return replace(exercise, tasks={**exercise.tasks, "capstone": task})


@pytest.fixture
def grade(tmp_path: Path, capstone: Exercise) -> Callable[..., dict[str, Any]]:
    """Return a function that grades the class and returns the records by label."""

    def run(**options: Any) -> dict[str, Any]:
        options = {"seed": 3, "exercises": [capstone], "progress": io.StringIO()}
        out = grade_folder(tmp_path / "class", out=tmp_path / "out", **options)
        records = map(json.loads, map(Path.read_text, out.glob("results/**/*.json")))
        return {record["submission"]: record for record in records}

    return run


def of_capstone(record: dict[str, Any]) -> dict[str, Any]:
    (report,) = (one for one in record["reports"] if one["task"] == "capstone")
    return dict(report)


BAD = save({"weight": -SIDES, "bias": torch.zeros(2)})


def test_weights_lie_beside_the_notebook(submit: Any, grade: Any) -> None:
    """The answers of all are the same, and the weights are not."""
    folder = submit("ada").parent

    def own(name: str) -> Path:
        (folder / name).mkdir()
        submit("ada").rename(folder / name / "91_small.ipynb")
        return folder / name / "capstone.safetensors"

    own("ada").write_bytes(save(GOOD))
    own("bob").write_bytes(BAD)
    own("eva")
    own("kim").write_bytes(bytes(MAX + 1))
    link = own("max")
    link.symlink_to(folder / "ada" / "capstone.safetensors")
    os.mkfifo(own("zoe"))
    records = grade()
    seen = {label[:3]: of_capstone(record) for label, record in records.items()}
    assert [seen[name]["points"] for name in sorted(seen)] == [5, 0, 0, 0, 0, 0]
    assert "On hidden data 9" in seen["ada"]["message"]
    assert "On hidden data" in seen["bob"]["message"]
    assert seen["eva"]["status"] == "missing"
    assert "at most 4,000 bytes, got 4,001" in seen["kim"]["message"]
    assert "symbolic link" in seen["max"]["message"]
    assert "not a file" in seen["zoe"]["message"]
    assert len({record["points"] for record in records.values()}) == 2


def test_weights_as_canvas_exports_them(submit: Any, grade: Any) -> None:
    folder = submit("ada_1001_5001_91_small").parent
    (folder / "ada_1001_5002_capstone-1.safetensors").write_bytes(save(GOOD))
    submit("bob_1002_5003_91_small")
    records = {one["student"]: of_capstone(one) for one in grade().values()}
    assert sorted(report["points"] for report in records.values()) == [0, 5]


def test_new_weights_are_graded_again(submit: Any, grade: Any) -> None:
    file = submit("ada").with_name("ada_capstone.safetensors")
    folder = file.parent / "ada"
    folder.mkdir()
    submit("ada").rename(folder / "91_small.ipynb")
    file = folder / "capstone.safetensors"
    file.write_bytes(BAD)
    (before,) = grade().values()
    file.write_bytes(save(GOOD))
    (after,) = grade().values()
    assert (of_capstone(before)["points"], of_capstone(after)["points"]) == (0, 5)


def test_the_class_has_a_leaderboard(submit: Any, grade: Any, tmp_path: Path) -> None:
    folder = submit("ada_1001_5001_91_small").parent
    (folder / "ada_1001_5002_capstone.safetensors").write_bytes(save(GOOD))
    submit("bob_1002_5003_91_small")
    (folder / "bob_1002_5004_capstone.safetensors").write_bytes(BAD)
    submit("eva_1003_5005_91_small")
    grade()
    page = write_leaderboard(tmp_path / "out", "capstone")
    table = page.with_suffix(".csv").read_text("utf-8")
    rows = [line.split(",") for line in table.splitlines()]
    assert [row[0] for row in rows] == ["rank", "1", "2"]
    assert not {"ada", "bob", "eva"} & {row[1] for row in rows}
    write_leaderboard(tmp_path / "out", "capstone")
    assert page.with_suffix(".csv").read_text("utf-8") == table  # the same names
    words = ["leaderboard", str(tmp_path / "out"), "--task", "capstone", "--names"]
    assert cli.main(words) == 0
    assert "ada" in page.with_suffix(".csv").read_text("utf-8")
    assert (tmp_path / "out/.leaderboard_secret").stat().st_mode & 0o77 == 0
    with pytest.raises(ValueError, match="answered by weights with accuracy, got 'x'"):
        write_leaderboard(tmp_path / "out", "x")


def test_one_notebook_is_checked_with_its_weights(
    submit: Any, capstone: Exercise
) -> None:
    path = submit("ada")
    path.with_name("capstone.safetensors").write_bytes(save(GOOD))
    text, _ = check_notebook(path, exercises=[capstone])
    assert "capstone: 5 of 5 points" in text


# Tasks that cannot be.


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"models": {}}, "models must hold at least one"),
        ({"levels": {}}, "more points for more accuracy"),
        ({"levels": {0.5: 3, 0.9: 2}}, "more points for more accuracy"),
        ({"levels": {0.5: 0}}, "more points for more accuracy"),
        ({"max_bytes": 0}, "max_bytes must be at least 1, got 0"),
    ],
)
def test_tasks_that_cannot_be(options: Any, sentence: str) -> None:
    usual: dict[str, Any] = {
        "section": "92", "models": {"small": small}, "data": two_clouds,
        "levels": {0.5: 1}, "max_bytes": 10,
    }  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        Artifact("capstone", **{**usual, **options})
