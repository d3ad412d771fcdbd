"""Release exercises with the answers cut out, and grade what comes back.

Release, in reading order: `notebook` (the one form of a notebook) with `cell_ids`,
`marks`, `leaks`, `release`. Grading: `wire` (values that cannot carry code), `answer`
(the process that runs a submission and nothing else), `process`, `run`, `exercise`,
`extract`, `grade`, and what it writes: `html`, `table`, `progress`.
"""

from .grade import check_notebook, grade_folder
from .release import release

__all__ = ["check_notebook", "grade_folder", "release"]
