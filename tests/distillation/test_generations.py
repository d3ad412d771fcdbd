"""Generations hand the student on as teacher; an ensemble is the mean of its parts."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mlopt_edu.distillation import Ensemble, born_again, soft_target_loss


def test_each_student_becomes_the_next_teacher_and_is_frozen_meanwhile():
    seen = []
    for generation in born_again(
        lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), count=4
    ):
        if generation.teacher is not None:
            assert not generation.teacher.training
            assert not any(p.requires_grad for p in generation.teacher.parameters())
        assert all(p.requires_grad for p in generation.student.parameters())
        assert generation.student.training
        seen.append(generation)
    assert [generation.number for generation in seen] == [1, 2, 3, 4]
    assert seen[0].teacher is None
    for before, after in itertools.pairwise(seen):
        assert after.teacher is before.student
    students = [generation.student for generation in seen]
    assert len(set(students)) == 4
    assert all(p.requires_grad for student in students for p in student.parameters())


def test_a_first_teacher_may_be_given_and_a_loop_be_left():
    teacher = nn.Linear(3, 2)
    for generation in born_again(lambda: nn.Linear(3, 2), count=2, teacher=teacher):
        assert generation.teacher is teacher
        assert not teacher.weight.requires_grad
        break
    assert teacher.weight.requires_grad


def test_generations_learn_what_the_first_one_knew():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator)
    labels = (x[:, 0] > x[:, 1]).long()
    students = []
    torch.manual_seed(0)
    for generation in born_again(lambda: nn.Linear(2, 2), count=3):
        optimizer = torch.optim.Adam(generation.student.parameters(), lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            logits = generation.student(x)
            if generation.teacher is None:
                loss = cross_entropy(logits, labels)
            else:
                loss = soft_target_loss(logits, generation.teacher(x))
            loss.backward()
            optimizer.step()
        students.append(generation.student)
    for model in (*students, Ensemble(students)):
        assert (model(x).argmax(-1) == labels).float().mean() > 0.97


def test_ensemble_is_the_mean_of_probabilities():
    torch.manual_seed(0)
    members = [nn.Linear(3, 5).double() for _ in range(4)]
    x = torch.randn(6, 3, dtype=torch.float64)
    ensemble = Ensemble(members)
    expected = torch.stack([member(x).softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(ensemble(x).exp(), expected)
    torch.testing.assert_close(ensemble(x).softmax(-1), expected)
    assert set(ensemble.parameters()) == {p for m in members for p in m.parameters()}
    torch.testing.assert_close(
        Ensemble(members[:1])(x).softmax(-1), members[0](x).softmax(-1)
    )


def test_ensemble_of_far_logits_is_finite():
    members = [nn.Identity(), nn.Softplus(), nn.Tanh()]
    logits = Ensemble(members)(torch.tensor([[-1e4, 1e4]]))
    assert torch.isfinite(logits).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"^count must be at least 1, got 0"):
        born_again(lambda: nn.Linear(1, 1), count=0)
    with pytest.raises(ValueError, match=r"^members must hold at least one model"):
        Ensemble([])
    same = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"^make_student must return a new model"):
        list(born_again(lambda: same, count=2))
