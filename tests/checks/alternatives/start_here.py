"""Right answers to lesson 00, written in other ways."""

import numpy as np
import torch


def by_loop(prediction, target):
    total = 0.0
    for guess, truth in zip(prediction, target, strict=True):
        total += (guess - truth) ** 2
    return total / len(target)


def by_norm(prediction, target):
    return np.linalg.norm(target - prediction) ** 2 / prediction.size


def by_dot(prediction, target):
    error = prediction - target
    return error @ error / len(error)


def by_torch(prediction, target):
    loss = torch.nn.functional.mse_loss
    return loss(torch.from_numpy(prediction), torch.from_numpy(target))


def in_single_precision(prediction, target):
    return np.mean((prediction - target) ** 2, dtype=np.float32)


ALTERNATIVES = {
    "mean_squared_error": [by_loop, by_norm, by_dot, by_torch, in_single_precision],
    "what_a_hint_costs": ["b", "B", " b ", "(b)", "b."],
}
