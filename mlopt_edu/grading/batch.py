"""Turns what a class handed in into jobs, and what came of them into records.

Every submission gets a record with a status and a reason, whatever it holds. Answers
that are equal to another's are not run again, nor is what an earlier run graded by
the same rules.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from mlopt_edu.checks import Artifact

from .exercise import Exercise
from .extract import Submission, extract, is_script
from .grader import Graded, Rules, Weights, answers_digest, course_digest
from .progress import Progress
from .results import FORMAT, Record, Results
from .submissions import Found, content, handed_weights
from .untrusted import UnreadableError
from .workers import Job


class Batch:
    """The submissions of one run.

    Args:
        results: Where records are kept.
        rules: What decides a result.
        exercises: What may be submitted.
        told: Counts what is done.
    """

    def __init__(
        self,
        results: Results,
        rules: Rules,
        exercises: Sequence[Exercise],
        told: Progress,
    ) -> None:
        self._results, self._rules = results, rules
        self._exercises, self._told = exercises, told
        self._artifacts = [
            task.name
            for exercise in exercises
            for task in exercise.tasks.values()
            if isinstance(task, Artifact)
        ]
        self._course = course_digest(rules.hidden)
        self._waiting: dict[str, list[Record]] = {}  # for answers on their way
        self._graded: dict[str, str] = {}  # answers to the label of their first record

    def jobs(self, found: Iterable[Found]) -> Iterator[Job]:
        """Yield what must be run, and settle everything else at once."""
        for one in found:
            record = self._blank(one)
            try:
                data = content(one)
                weights = self._weights(one)
                record |= self._identity(one, data, weights)
                if self._settled(record):
                    continue
                submission = extract(data, self._exercises, is_script=is_script(one))
            except UnreadableError as error:
                self._keep({**record, "reason": str(error)})
                continue
            asked = submission.exercise.tasks
            weights = {name: weights[name] for name in asked if name in weights}
            self._fill(record, submission, weights)
            digest = record["answers"]
            if digest in self._waiting:
                self._waiting[digest].append(record)
            elif digest in self._graded:
                self._keep(record | self._outcome_of(self._graded[digest]))
            else:
                self._waiting[digest] = [record]
                stem, answers = record["exercise"], submission.answers
                yield Job(digest, stem, answers, weights)

    def done(self, job: Job, outcome: Graded | BaseException) -> None:
        """Keep the records of all who gave these answers."""
        for record in self._waiting.pop(job.name):
            if isinstance(outcome, Graded):
                self._graded.setdefault(job.name, record["submission"])
                self._keep(record | _outcome(outcome))
            else:  # ours or the machine's fault: the next run tries it again
                text = f"the grader failed: {type(outcome).__name__}: {outcome}"
                failed = {"status": "error", "reason": text[:500], "key": ""}
                self._keep(record | failed)

    def _blank(self, one: Found) -> Record:
        """Return the record of a submission of which nothing is known yet."""
        return {
            "format": FORMAT,
            "submission": one.label,
            "student": one.student,
            "submitted": one.submitted.isoformat() if one.submitted else "",
            "sha256": "",
            "key": "",
            "status": "unreadable",
            "reason": "",
            "exercise": "",
            "answers": "",
            "sources": {},
            "points": 0,
            "max_points": 0,
            "seed": self._rules.seed,
            "isolation": "",
            "seconds": 0.0,
            "notes": ["The course site marked it as late."] if one.late else [],
            "reports": [],
        }

    def _weights(self, one: Found) -> Weights:
        """Return the files of weights that came with a submission."""
        found: dict[str, bytes | str] = {}
        for name in self._artifacts:
            try:
                data = handed_weights(one, name)
            except UnreadableError as error:
                found[name] = str(error)
                continue
            if data is not None:
                found[name] = data
        return found

    def _identity(self, one: Found, data: bytes, weights: Weights) -> Record:
        """Return what tells whether these files were graded by these rules before."""
        digest = hashlib.sha256(data).hexdigest()
        handed = answers_digest("", {}, weights) if weights else ""
        who = f"{one.student} {one.submitted}"
        said = f"{digest} {handed} {who} {self._rules} {self._course}"
        key = hashlib.sha256(said.encode("utf-8", "surrogatepass"))
        return {"sha256": digest, "key": key.hexdigest()}

    def _settled(self, record: Record) -> bool:
        """Whether an earlier run has graded it."""
        earlier = self._results.find(record["submission"])
        if earlier is None or earlier.get("key") != record["key"]:
            return False
        if earlier["status"] == "graded":
            self._graded.setdefault(earlier["answers"], earlier["submission"])
        self._told.step(failed=earlier["status"] != "graded")
        return True

    def _fill(self, record: Record, submission: Submission, weights: Weights) -> None:
        exercise, answers = submission.exercise, submission.answers
        record["exercise"] = exercise.stem
        record["answers"] = answers_digest(exercise.stem, answers, weights)
        record["sources"] = dict(answers)
        record["max_points"] = sum(task.points for task in exercise.tasks.values())
        record["notes"] += submission.notes

    def _outcome_of(self, label: str) -> Record:
        """Return what the same answers got before."""
        earlier = self._results.find(label)
        if earlier is None:
            raise ValueError(f"the result of {label} is gone; start again")
        return {name: earlier[name] for name in _OUTCOME}

    def _keep(self, record: Record) -> None:
        self._results.keep(record)
        self._told.step(failed=record["status"] != "graded")


_OUTCOME = ("status", "reason", "points", "isolation", "seconds", "reports")


def _outcome(graded: Graded) -> Record:
    """Return what a record says of answers that were run and judged."""
    reports = graded.reports
    right = sum(report.passed for report in reports)
    return {
        "status": "graded",
        "reason": f"{right} of {len(reports)} answers are right",
        "points": sum(report.points for report in reports),
        "isolation": graded.isolation,
        "seconds": graded.seconds,
        "reports": [report.to_dict() for report in reports],
    }
