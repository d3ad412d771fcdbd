import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlopt_edu
from mlopt_edu import cli, course, doctor, lab
from mlopt_edu.checks import tasks

COMMANDS = [
    "lab",
    "start",
    "progress",
    "check",
    "release",
    "grade",
    "report",
    "leaderboard",
    "hidden",
    "gradebook",
    "doctor",
]


def run(capsys, *words):
    """Return the exit code and what was printed, argparse's own endings included."""
    try:
        code = cli.main([str(word) for word in words])
    except SystemExit as ending:
        code = ending.code
    out, err = capsys.readouterr()
    return code, out, err


def one_sentence(err):
    assert err.startswith("mlopt: ")
    assert err.count("\n") == 1
    return err.removeprefix("mlopt: ").rstrip()


def test_version(capsys):
    expected = (0, f"mlopt-edu {mlopt_edu.__version__}\n", "")
    assert expected == run(capsys, "--version")


def test_help_names_every_command(capsys):
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    listed = re.findall(r"^    (\w+)", out, re.MULTILINE)
    assert listed == COMMANDS


def test_no_command_shows_the_help(capsys):
    code, out, _ = run(capsys)
    assert code == 2
    assert "copy the course into a new folder" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    code, out, err = run(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: mlopt {command}")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("grad", "there is no command 'grad'; did you mean 'grade'?"),
        ("docter", "there is no command 'docter'; did you mean 'doctor'?"),
        ("record", "there is no command 'record'; did you mean 'gradebook record'?"),
        ("xyz", f"there is no command 'xyz'; there are {', '.join(COMMANDS)}"),
    ],
)
def test_unknown_command(capsys, word, sentence):
    code, out, err = run(capsys, word)
    assert (code, out, one_sentence(err)) == (2, "", sentence)


def test_unknown_option(capsys):
    code, out, err = run(capsys, "progress", "--all")
    assert (code, out) == (2, "")
    assert err.endswith("error: unknown argument: --all\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--no-browser"],
        ["--port", "8899", "--no-browser"],
        ["--port=8899", "notebook.ipynb"],
    ],
)
def test_lab_passes_its_arguments_on(capsys, monkeypatch, arguments):
    seen = []
    monkeypatch.setattr(lab, "run_lab", seen.append)
    monkeypatch.setattr(lab, "is_root", lambda: False)
    assert run(capsys, "lab", *arguments) == (0, "", "")
    assert seen == [arguments]


def test_lab_tells_root_what_it_does(capsys, monkeypatch):
    monkeypatch.setattr(lab, "run_lab", lambda arguments: None)
    monkeypatch.setattr(lab, "is_root", lambda: True)
    code, out, err = run(capsys, "lab")
    assert (code, err) == (0, "")
    assert out == "You are root: JupyterLab is started with --allow-root.\n"


def test_lab_without_a_course(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "checkout", lambda: None)
    monkeypatch.setattr(lab, "is_root", lambda: True)
    code, out, err = run(capsys, "lab")
    assert (code, out) == (2, "")
    assert "mlopt start my-course" in one_sentence(err)


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("jupyterlab.labapp", 'jupyterlab is not installed; pip install "mlopt-edu[w'),
        ("nbformat", 'nbformat is not installed; pip install "mlopt-edu[grading]"'),
        ("torch.optim", "torch is not installed; type mlopt doctor"),
    ],
)
def test_a_missing_package(capsys, monkeypatch, module, advice):
    def missing(arguments):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(lab, "run_lab", missing)
    code, _, err = run(capsys, "lab")
    assert code == 2
    assert one_sentence(err).startswith(advice)


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    def missing(arguments):
        raise ModuleNotFoundError("No module named 'mlopt_edu.x'", name="mlopt_edu.x")

    monkeypatch.setattr(lab, "run_lab", missing)
    with pytest.raises(ModuleNotFoundError, match=r"mlopt_edu\.x"):
        cli.main(["lab"])


def test_start(capsys, monkeypatch, tmp_path):
    bundle = tmp_path / "bundle"
    for folder in course.FOLDERS:
        (bundle / folder).mkdir(parents=True)
    (bundle / course.FIRST_LESSON).write_text("{}", encoding="utf-8")
    monkeypatch.setattr(course, "checkout", lambda: bundle)
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "start", "mine")
    assert (code, err) == (0, "")
    assert "cd mine" in out
    assert course.find_course(Path("mine")) == (tmp_path / "mine").resolve()

    # A second time nothing is overwritten.
    code, out, err = run(capsys, "start", "mine")
    assert (code, out) == (2, "")
    assert "mine must be a new or empty folder" in one_sentence(err)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        (".", ["mlopt lab"]),
        ("my course", ['cd "my course"', "mlopt lab"]),
        ("mine", ["cd mine", "mlopt lab"]),
    ],
)
def test_start_tells_what_to_type(capsys, monkeypatch, tmp_path, name, steps):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "start", name)
    first, *rest = out.splitlines()
    assert (code, err) == (0, "")
    assert first == f"The course is in {(tmp_path / name).resolve()}. To open it:"
    assert [line.strip() for line in rest] == steps


def test_an_error_of_the_system_is_a_sentence(capsys, monkeypatch, tmp_path):
    def full_disk(directory):
        raise OSError(28, "No space left on device", str(directory))

    monkeypatch.setattr(course, "start_course", full_disk)
    code, _, err = run(capsys, "start", tmp_path / "new")
    expected = f"No space left on device: {tmp_path / 'new'}"
    assert (code, one_sentence(err)) == (2, expected)


def test_progress_counts_every_point(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MLOPT_PROGRESS", str(tmp_path))
    code, out, err = run(capsys, "progress")
    assert (code, err) == (0, "")
    for stem in {task.exercise for task in tasks().values()}:
        possible = sum(task.points for task in tasks(stem).values())
        assert f"{stem}: 0 of {possible} points" in out


def test_check_what_is_no_notebook(capsys, tmp_path):
    path = tmp_path / "01_gradient_descent.ipynb"
    path.write_text("not JSON", encoding="utf-8")
    code, out, err = run(capsys, "check", path)
    assert (code, out) == (2, "")
    assert "01_gradient_descent.ipynb" in one_sentence(err)


def test_check_a_missing_notebook(capsys, tmp_path):
    code, out, err = run(capsys, "check", tmp_path / "absent.ipynb")
    assert (code, out) == (2, "")
    assert "absent.ipynb" in one_sentence(err)


def test_grade_an_empty_folder(capsys, tmp_path):
    code, out, err = run(capsys, "grade", tmp_path)
    assert (code, out) == (2, "")
    assert "holds no notebooks" in one_sentence(err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "option", [["--seconds", "soon"], ["--memory", "2.5"], ["--seed", "x"]]
)
def test_grade_wants_numbers(capsys, tmp_path, option):
    code, _, err = run(capsys, "grade", tmp_path, *option)
    assert code == 2
    assert f"argument {option[0]}: invalid" in err


def test_release_outside_a_checkout(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(course, "checkout", lambda: None)
    code, _, err = run(capsys, "release")
    assert code == 2
    assert "needs a checkout" in one_sentence(err)


def test_release_check_tells_what_is_wrong(capsys, monkeypatch, tmp_path):
    for folder in ("lessons", "solutions"):
        (tmp_path / folder).mkdir()
    (tmp_path / course.FIRST_LESSON).write_text("not JSON", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "release", "--check")
    assert code == 1
    assert "00_start_here.ipynb" in out


@pytest.mark.parametrize(
    ("essential", "code", "word", "last"),
    [
        (True, 1, "MISSING", "The lessons cannot run yet"),
        (False, 0, "without", "The lessons can run."),
    ],
)
def test_doctor(capsys, monkeypatch, essential, code, word, last):
    findings = [
        doctor.Finding("Python", True, "3.14.", essential=True),
        doctor.Finding("Thing", False, "Missing. Type: x", essential=essential),
    ]
    monkeypatch.setattr(doctor, "diagnose", lambda: findings)
    seen, out, err = run(capsys, "doctor")
    assert (seen, err) == (code, "")
    lines = out.splitlines()
    assert lines[0].split() == ["ok", "Python", "3.14."]
    assert lines[1].split()[:2] == [word, "Thing"]
    assert lines[-1].startswith(last)


def test_the_command_line_imports_little():
    code = (
        "import sys; from mlopt_edu.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'nbformat', 'jupyterlab'} & set(sys.modules)))"
    )
    root = Path(cli.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[1:] == ["[]"]
