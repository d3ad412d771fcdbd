import subprocess
import sys


def test_a_missing_anywidget_names_the_extra():
    code = "import sys; sys.modules['anywidget'] = None; import mlopt_edu.widgets"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: mlopt_edu.widgets needs anywidget: "
        'pip install "mlopt-edu[widgets]"'
    )
