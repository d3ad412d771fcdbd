"""Release exercises, grade what comes back safely and fast, keep the gradebook.

Each part in reading order:

- Release: `notebook` (the one form of a notebook), `cell_ids`, `marks`, `leaks`,
  `release`.
- Reading what was handed in: `untrusted`, `archive`, `listing`, `owner`, `labels`,
  `submissions` find it; `cells`, `names`, `answers`, `extract` take the answers out.
- Running answers: `wire` (values that cannot carry code); `answer`, `confine`,
  `syscalls`, `server` (the answer side); `sandbox`, `process`, `run`, `warm`;
  `isolation`, what this machine has of it.
- Judging: `exercise`, `hidden`, `hidden_faults`, `weights`, `artifact`, `grader`.
- The class: `workers`, `results`, `progress`, `grade`; what it writes: `document`,
  `html`, `table`; what is seen in it: `statistics`, `similar`, `report`,
  `leaderboard`, `leaderboard_page`; and the package `gradebook`.
"""

from .grade import check_notebook, grade_folder
from .release import release

__all__ = ["check_notebook", "grade_folder", "release"]
