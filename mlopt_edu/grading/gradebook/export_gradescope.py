"""Results as Gradescope reads them: one results.json a submission.

The fields are those of its page "Autograder Specifications": `score`, `output`,
`visibility`, `extra_data`, and `tests` with `name`, `number`, `score`, `max_score`,
`status`, `output`, `output_format` and `visibility`. What coming late costs is left to
Gradescope, which knows when a submission came.
"""

import json
import re
from pathlib import Path
from typing import Any

from mlopt_edu.grading.notebook import write_atomically

from .read import Attempted, attempts
from .store import Gradebook


def write_gradescope(book: Gradebook, folder: Path) -> list[Path]:
    """Write one JSON file a submission into a folder, which is made when missing.

    Returns:
        The files, in the order of students and exercises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    times: dict[str, int] = {}
    for one in attempts(book):
        # A label is what a learner called a file: it must not lead elsewhere.
        name = re.sub(r"[^\w-]+", "_", one.label.removesuffix(".ipynb"))[:100]
        times[name.casefold()] = time = times.get(name.casefold(), 0) + 1
        path = folder / (f"{name}.json" if time == 1 else f"{name}.{time}.json")
        text = json.dumps(results(one), indent=1, ensure_ascii=False) + "\n"
        write_atomically(path, text)
        written.append(path)
    return written


def results(attempt: Attempted) -> dict[str, Any]:
    """Return what Gradescope shows of one submission."""
    tests = [
        {
            "name": task,
            "number": str(number),
            "score": earned.points,
            "max_score": earned.max_points,
            "status": "passed" if earned.status == "passed" else "failed",
            "output": earned.message,
            "output_format": "text",
            "visibility": "visible",
        }
        for number, (task, earned) in enumerate(attempt.scores.items(), start=1)
    ]
    return {
        "score": sum(earned.points for earned in attempt.scores.values()),
        "output": attempt.reason,
        "output_format": "text",
        "visibility": "visible",
        "tests": tests,
        "extra_data": {
            "student": attempt.student,
            "exercise": attempt.exercise,
            "submission": attempt.label,
            "status": attempt.status,
        },
    }
