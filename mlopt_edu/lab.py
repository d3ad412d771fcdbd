"""Opens the course in JupyterLab.

An installed wheel puts the course's JupyterLab extension and settings where
JupyterLab looks for them. A checkout has nothing there, so this points to its own.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlopt_edu.course import FIRST_LESSON, checkout, find_course

LABEXTENSION = Path(__file__).with_name("labextension")


def course_to_serve() -> Path:
    """Return the course at or above the current folder, or else the checkout's.

    Raises:
        FileNotFoundError: If there is no course here.
        ModuleNotFoundError: If JupyterLab is not installed.
    """
    course = find_course() or checkout()
    if course is None:
        raise FileNotFoundError(
            "there is no course in this folder or above it; "
            "type: mlopt start my-course, and then: cd my-course"
        )
    importlib.import_module("jupyterlab.labapp")
    return course


def run_lab(arguments: Sequence[str] = ()) -> None:
    """Serve the course with JupyterLab until the server is stopped.

    Args:
        arguments: Options for JupyterLab, such as `--no-browser`.

    Raises:
        FileNotFoundError: If there is no course here.
        ModuleNotFoundError: If JupyterLab is not installed.
    """
    course = course_to_serve()
    labapp = importlib.import_module("jupyterlab.labapp")
    wired = checkout() is not None
    os.environ.update(lab_environment(os.environ, wired=wired))
    # In this process: Ctrl-C, a terminal's end and a service manager's signal then
    # reach the server as they are, on every system.
    labapp.LabApp.launch_instance(
        lab_arguments(course, arguments, wired=wired, as_root=is_root())
    )


def lab_arguments(
    course: Path, arguments: Sequence[str], *, wired: bool, as_root: bool
) -> list[str]:
    """Return JupyterLab's command line.

    Args:
        course: Folder to serve; the browser opens its first lesson.
        arguments: The user's own options; what they set is not set by us.
        wired: Whether to point JupyterLab to the extension in this checkout.
        as_root: Whether JupyterLab must be told that root is meant.
    """
    ours = [
        f"--ServerApp.root_dir={course}",
        f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}",
    ]
    if wired:
        ours.append(f"--LabServerApp.extra_labextensions_path={LABEXTENSION}")
    if as_root:
        ours.append("--allow-root")
    # JupyterLab stops at an option that is given twice.
    given = {argument.partition("=")[0] for argument in arguments}
    return [o for o in ours if o.partition("=")[0] not in given] + list(arguments)


def lab_environment(user: Mapping[str, str], *, wired: bool) -> dict[str, str]:
    """Return what to set in the environment of the server and its kernels.

    Args:
        user: The environment as it is; what the user set there stays.
        wired: Whether to point JupyterLab to the settings in this checkout.
    """
    # The models are small: several threads would wait for each other.
    changes = {"OMP_NUM_THREADS": user.get("OMP_NUM_THREADS", "1")}
    if wired:
        paths = [user.get("JUPYTER_CONFIG_PATH", ""), str(LABEXTENSION)]
        changes["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, paths))
    return changes


def is_root() -> bool:
    """Return whether this is the root user; never on Windows."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
