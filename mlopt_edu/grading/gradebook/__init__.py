"""The gradebook: what a class handed in, what it earned, who changed what, and why.

In reading order: `schema` (the tables), `store` (one gradebook in a database), `entry`
(what is kept of a record), `comparison` and `record` (import and regrade), `read`,
`policies` (best or last, late or not) with `policy_file`, and the exports: `roster` (a
course site's own list of students), `export_csv`, `export_canvas`, `export_moodle`,
`export_gradescope`, `export_nbgrader`.
"""

from .policies import Grade, Policies, Policy, grade, grades
from .policy_file import read_policies
from .read import Attempted, Change, attempts, history
from .record import Recorded, record_class, regrade
from .store import Gradebook, GradebookError

__all__ = [
    "Attempted",
    "Change",
    "Grade",
    "Gradebook",
    "GradebookError",
    "Policies",
    "Policy",
    "Recorded",
    "attempts",
    "grade",
    "grades",
    "history",
    "read_policies",
    "record_class",
    "regrade",
]
