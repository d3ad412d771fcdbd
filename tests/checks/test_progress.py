"""Points are kept in the learner's folder; the best stay, whatever comes later."""

import json
from dataclasses import replace

import pytest

from mlopt_edu.checks import Report, exercises
from mlopt_edu.checks._progress import course_folder, progress, record

STEM = "01_gradient_descent"
POSSIBLE = sum(task.points for task in exercises()[STEM].values())
RIGHT = Report("descend", STEM, 3, 3, "passed", "All agree.")
WRONG = replace(RIGHT, points=0, status="wrong")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPT_PROGRESS", str(tmp_path))
    return tmp_path / ".mlopt" / "progress"


def _saved(folder, task="descend"):
    return json.loads((folder / f"{task}.json").read_text(encoding="utf-8"))


def test_nothing_is_earned_before_the_first_check(folder):
    found = progress().exercises
    assert set(found) == set(exercises())
    for stem, points in found.items():
        expected = {name: (0, t.points) for name, t in exercises()[stem].items()}
        assert points == expected
    assert not folder.exists()


def test_the_best_points_stay_and_attempts_count(folder):
    for report, attempts in ((WRONG, 1), (RIGHT, 2), (WRONG, 3)):
        sentence = record(report)
        assert _saved(folder)["attempts"] == attempts
        assert _saved(folder)["last"] == report.status
    assert _saved(folder)["points"] == 3
    assert sentence.startswith(f"3 of {POSSIBLE} points in {STEM}")
    assert progress(STEM).exercises[STEM]["descend"] == (3, 3)


def test_two_tasks_do_not_share_a_file(folder):
    record(RIGHT)
    record(replace(RIGHT, task="gradient", points=2, max_points=2))
    assert {file.name for file in folder.iterdir()} == {"descend.json", "gradient.json"}
    earned = progress(STEM).exercises[STEM]
    assert (earned["descend"], earned["gradient"]) == ((3, 3), (2, 2))


def test_no_half_written_file_is_left_or_read(folder, monkeypatch):
    record(RIGHT)

    def dies(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("mlopt_edu.checks._progress.json.dump", dies)
    with pytest.raises(KeyboardInterrupt):
        record(WRONG)
    assert [file.name for file in folder.iterdir()] == ["descend.json"]
    assert _saved(folder)["attempts"] == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b"\xff\xfe\x00",
        b'{"points": "3"}',
        b'{"points": null}',
        b'{"points": 2.5}',
    ],
)
def test_a_spoilt_file_counts_as_no_attempt(folder, content):
    folder.mkdir(parents=True)
    (folder / "descend.json").write_bytes(content)
    assert progress(STEM).exercises[STEM]["descend"] == (0, 3)
    record(RIGHT)
    assert _saved(folder) == {"points": 3, "attempts": 1, "last": "passed"}


def test_a_forged_file_earns_no_more_than_the_task_gives(folder):
    folder.mkdir(parents=True)
    (folder / "descend.json").write_text('{"points": 1000}')
    assert progress(STEM).exercises[STEM]["descend"] == (3, 3)


@pytest.mark.parametrize("blocked", [".mlopt", ".mlopt/progress"])
def test_a_folder_that_cannot_be_written_costs_the_memory_only(
    tmp_path, blocked, folder
):
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("a file where a folder must be")
    sentence = record(RIGHT)
    assert "could not be saved" in sentence
    assert str(folder) in sentence
    assert "\n" not in sentence
    assert progress(STEM).exercises[STEM]["descend"] == (0, 3)
    assert (tmp_path / blocked).read_text() == "a file where a folder must be"


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPT_PROGRESS", str(tmp_path / "elsewhere"))
    assert course_folder() == tmp_path / "elsewhere"
    record(RIGHT)
    assert (tmp_path / "elsewhere" / ".mlopt" / "progress" / "descend.json").is_file()


@pytest.mark.parametrize("inside", [".", "exercises", "exercises/drafts/old"])
def test_the_course_is_found_upwards(tmp_path, monkeypatch, inside):
    monkeypatch.delenv("MLOPT_PROGRESS")
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "00_start_here.ipynb").touch()
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / inside)
    assert course_folder() == tmp_path


def test_without_a_course_the_current_folder_is_it(tmp_path, monkeypatch):
    monkeypatch.delenv("MLOPT_PROGRESS")
    monkeypatch.chdir(tmp_path)
    assert course_folder() == tmp_path


def test_progress_is_shown_as_text_and_as_a_page(folder):
    record(RIGHT)
    shown = progress(STEM)
    assert str(shown).splitlines()[0] == f"{STEM}: 3 of {POSSIBLE} points"
    assert "✓ descend: 3 of 3" in str(shown)
    assert "· gradient: 0 of 2" in str(shown)
    assert repr(shown) == str(shown)
    html = shown._repr_html_()
    assert f'max="{POSSIBLE}" value="3"' in html
    assert "next: gradient" in html


def test_a_finished_exercise_says_so(folder):
    for name, task in exercises()[STEM].items():
        record(Report(name, STEM, task.points, task.points, "passed", ""))
    assert "all done" in progress(STEM)._repr_html_()


def test_an_unknown_exercise_suggests_the_nearest(folder):
    with pytest.raises(ValueError, match=f"did you mean '{STEM}'"):
        progress("01_gradient")
