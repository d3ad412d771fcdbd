"""The tables of a gradebook: what was submitted, what it earned, who changed what.

A submission is an attempt. Each of its scores has versions, of which the highest
counts; no version is ever changed or deleted. What does change, as the status of an
attempt that was graded again, leaves its old value in `audit`.
"""

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

FORMAT = 1


class Base(DeclarativeBase):
    """What the tables share: the list of them all."""


class Meta(Base):
    """One row: the form of the tables. Who writes locks it, so one writes at a time."""

    __tablename__ = "meta"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    format: Mapped[int]


class Student(Base):
    """Somebody who handed in, by the name that the submissions carry."""

    __tablename__ = "students"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Exercise(Base):
    """An exercise, as "01_gradient_descent"."""

    __tablename__ = "exercises"

    id: Mapped[int] = mapped_column(primary_key=True)
    stem: Mapped[str] = mapped_column(unique=True)


class Attempt(Base):
    """One submission: what was handed in, and what came of it when it was graded.

    The same file handed in again under the same label is the same attempt, unless it
    says another time. An unreadable file belongs to no exercise.
    """

    __tablename__ = "attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)  # digest of the next four
    student_id: Mapped[int] = mapped_column(ForeignKey("students.id"))
    label: Mapped[str]
    sha256: Mapped[str]
    submitted: Mapped[str]  # ISO 8601 with an offset, or "" if nobody knows
    answers: Mapped[str]
    exercise_id: Mapped[int | None] = mapped_column(ForeignKey("exercises.id"))
    status: Mapped[str]
    reason: Mapped[str]
    seed: Mapped[str]  # as text: a seed may be larger than a column's integers
    isolation: Mapped[str]


class Seen(Base):
    """A record that was taken over, so that the same one changes nothing again."""

    __tablename__ = "seen"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempts.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)


class Score(Base):
    """One version of what one answer earned."""

    __tablename__ = "scores"
    __table_args__ = (UniqueConstraint("attempt_id", "task", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempts.id"))
    task: Mapped[str]
    version: Mapped[int]
    points: Mapped[int]
    max_points: Mapped[int]
    status: Mapped[str]
    mistake: Mapped[str]
    message: Mapped[str]


class Audit(Base):
    """One change: when, by whom, of which attempt, from what to what, and why."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_of_attempt", "attempt_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempts.id"))
    at: Mapped[str]
    by: Mapped[str]
    what: Mapped[str]
    old: Mapped[str]
    new: Mapped[str]
    why: Mapped[str]
