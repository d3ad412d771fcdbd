"""Release exercises with the answers cut out, and grade what comes back.

Reading order: `notebook` (the one form of a notebook), `leaks`, `release` (from
solutions to exercises); `wire` (values that cannot carry code), `answer` (the process
that runs a submission and nothing else), `run` (its driver), `course`, `extract`,
`html`, `grade` (a folder of submissions).
"""

from .grade import check_notebook, grade_folder
from .release import release

__all__ = ["check_notebook", "grade_folder", "release"]
