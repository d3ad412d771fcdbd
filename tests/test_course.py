import shutil
from pathlib import Path

import pytest

from mlopt_edu import course

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


def make_course(root: Path) -> Path:
    for folder in course.FOLDERS:
        (root / folder).mkdir(parents=True)
    (root / course.FIRST_LESSON).write_text(NOTEBOOK, encoding="utf-8")
    (root / "lessons/01_gradient_descent.ipynb").write_text("01", encoding="utf-8")
    (root / "lessons/figures").mkdir()
    (root / "lessons/figures/surface.bin").write_bytes(b"\x00\xff\r\n")
    (root / "exercises/01_gradient_descent.ipynb").write_text("e1", encoding="utf-8")
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A course as the package would carry it."""
    root = make_course(tmp_path / "bundle")
    monkeypatch.setattr(course, "checkout", lambda: root)
    return root


@pytest.mark.parametrize("below", ["", "lessons", "exercises", "lessons/figures"])
def test_find_course_looks_upwards(tmp_path, below):
    root = make_course(tmp_path / "my course")
    assert course.find_course(root / below) == root.resolve()


def test_find_course_starts_in_the_current_folder(tmp_path, monkeypatch):
    root = make_course(tmp_path / "mine")
    monkeypatch.chdir(root / "lessons")
    assert course.find_course() == root.resolve()


def test_find_course_takes_the_nearest(tmp_path):
    outer = make_course(tmp_path / "outer")
    inner = make_course(outer / "inner")
    assert course.find_course(inner / "lessons") == inner.resolve()


def test_a_folder_without_the_first_lesson_is_no_course(tmp_path):
    (tmp_path / "lessons").mkdir()
    assert course.find_course(tmp_path) is None


@pytest.mark.parametrize("exists", [False, True])
def test_start_course_copies_everything(bundle, tmp_path, exists):
    target = tmp_path / "new"
    if exists:
        target.mkdir()
    assert course.start_course(target) == target.resolve()
    assert contents(bundle) == contents(target)
    assert course.find_course(target) == target.resolve()


def test_start_course_in_the_current_empty_folder(bundle, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    course.start_course(Path())
    # The shell's folder is still the folder of that name.
    assert contents(bundle) == contents(Path.cwd()) == contents(tmp_path / "here")


def test_start_course_leaves_behind_what_a_run_left(bundle, tmp_path):
    wanted = contents(bundle)
    for name in (".ipynb_checkpoints/a.ipynb", "__pycache__/a.pyc", ".mlopt/x.json"):
        path = bundle / "lessons" / name
        path.parent.mkdir()
        path.write_text("left", encoding="utf-8")
    course.start_course(tmp_path / "new")
    assert wanted == contents(tmp_path / "new")


def test_start_course_copies_from_an_installed_wheel(tmp_path, monkeypatch):
    # A wheel has no pyproject.toml beside the package, and _course/ inside.
    package = tmp_path / "site-packages" / "mlopt_edu"
    bundle = make_course(package / "_course")
    monkeypatch.setattr(course, "__file__", str(package / "course.py"))
    monkeypatch.setattr(course, "files", lambda name: package)
    assert course.checkout() is None
    course.start_course(tmp_path / "new")
    assert contents(bundle) == contents(tmp_path / "new")


def test_checkout_is_this_repository():
    root = course.checkout()
    assert root is not None
    assert (root / "mlopt_edu/course.py").samefile(course.__file__)


def test_start_course_refuses_a_folder_in_use(bundle, tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "notes.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(FileExistsError, match="must be a new or empty folder"):
        course.start_course(target)
    assert contents(target) == {"notes.txt": b"keep"}


def test_start_course_refuses_a_file(bundle, tmp_path):
    target = tmp_path / "mine"
    target.write_text("keep", encoding="utf-8")
    with pytest.raises(FileExistsError, match="must be a new or empty folder"):
        course.start_course(target)
    assert target.read_text(encoding="utf-8") == "keep"


def test_start_course_refuses_a_folder_in_no_folder(bundle, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        course.start_course(tmp_path / "no" / "new")
    assert not (tmp_path / "no").exists()


def test_start_course_without_lessons_says_so(bundle, tmp_path):
    shutil.rmtree(bundle / "lessons")
    with pytest.raises(FileNotFoundError, match="carries no lessons"):
        course.start_course(tmp_path / "new")


@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_start_leaves_nothing(bundle, tmp_path, monkeypatch, exists):
    target = tmp_path / "new"
    if exists:
        target.mkdir()
    before = sorted(tmp_path.iterdir())
    written = []

    def full_disk(path, data):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))
        return real(path, data)

    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        course.start_course(target)
    assert len(written) == 3
    assert before == sorted(tmp_path.iterdir())
    assert not exists or not list(target.iterdir())
