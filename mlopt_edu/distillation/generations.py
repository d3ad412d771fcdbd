r"""Self-distillation: students of the teacher's own size, one generation after another.

    student_1 learns from labels;  student_k from student_{k-1};  ensemble: mean of p

Nothing becomes smaller, and yet a student often surpasses its teacher, and the mean of
the generations' probabilities does better still. The ensemble then makes a teacher for
a small student.

Paper: Furlanello et al., "Born-Again Neural Networks", 2018, arXiv:1805.04770,
sections 3 and 3.1. Differs from the paper: nothing; how a student learns is yours.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlopt_edu.distillation.teacher import frozen


@dataclass(frozen=True)
class Generation:
    """Who learns from whom.

    Attributes:
        number: 1 for the first student, then 2, 3, ...
        student: The model to be trained now.
        teacher: The trained student before, frozen while this one learns; None for the
            first, which learns from the labels alone.
    """

    number: int
    student: nn.Module
    teacher: nn.Module | None


def born_again(
    make_student: Callable[[], nn.Module],
    *,
    count: int,
    teacher: nn.Module | None = None,
) -> Iterator[Generation]:
    """Yield generations for a loop whose body trains the student.

    When the body is done, the student becomes the next one's teacher.

    Args:
        make_student: Returns a new model at each call.
        count: Number of generations, at least 1.
        teacher: Teacher of the first student, if there is one already.

    Raises:
        ValueError: If `count` is below 1, or `make_student` returns the teacher.

    Example:
        >>> for generation in born_again(lambda: nn.Linear(2, 2), count=3):
        ...     print(generation.number, generation.teacher is None)
        1 True
        2 False
        3 False
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return _generations(make_student, count, teacher)


def _generations(
    make_student: Callable[[], nn.Module], count: int, teacher: nn.Module | None
) -> Iterator[Generation]:
    for number in range(1, count + 1):
        student = make_student()
        if student is teacher:
            raise ValueError(
                "make_student must return a new model at each call, got the last one"
            )
        if teacher is None:
            yield Generation(number, student, None)
        else:
            with frozen(teacher):
                yield Generation(number, student, teacher)
        teacher = student


class Ensemble(nn.Module):
    """Several classifiers as one: the mean of their probabilities.

    Args:
        members: Models with the same inputs and classes, at least one; they are parts
            of this module.

    Raises:
        ValueError: If there is no member.

    Example:
        >>> yes, no = nn.Linear(1, 2, bias=False), nn.Linear(1, 2, bias=False)
        >>> yes.weight.data, no.weight.data = torch.eye(2)[:, :1], torch.eye(2)[:, 1:]
        >>> Ensemble([yes, no])(torch.tensor([[3.0]])).exp()
        tensor([[0.5000, 0.5000]], grad_fn=<ExpBackward0>)
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        if not members:
            raise ValueError("members must hold at least one model, got none")
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: object) -> Tensor:
        """Return the logarithm of the mean probabilities, which serves as logits."""
        log_probs = torch.stack(
            [member(*inputs).log_softmax(-1) for member in self.members]
        )
        return log_probs.logsumexp(0) - math.log(len(self.members))
