"""Exercise 07: L1 and its exact zeros, dropout, decay, smoothing, clipping, stopping.

Papers: Beck and Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for
Linear Inverse Problems", 2009 (tasks 1 and 2); Srivastava et al., "Dropout", 2014
(task 3); Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017,
arXiv:1711.05101 (task 4); Szegedy et al., "Rethinking the Inception Architecture for
Computer Vision", 2015, arXiv:1512.00567 (task 5); Pascanu, Mikolov and Bengio, "On the
difficulty of training Recurrent Neural Networks", 2012, arXiv:1211.5063 (task 6).
Differs from the papers: dropout divides in training, by 1 - p, as in torch.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._soft_threshold import soft_threshold
from ._proximal_descent import proximal_descent
from ._dropout import dropout
from ._decayed_adam import decayed_adam
from ._label_smoothing_loss import label_smoothing_loss
from ._clip_by_global_norm import clip_by_global_norm
from ._early_stopping import early_stopping
from ._choices import forgotten_eval, no_exact_zeros, smoothed_minimum, stopped_on_test

__all__ = [
    "clip_by_global_norm",
    "decayed_adam",
    "dropout",
    "early_stopping",
    "forgotten_eval",
    "label_smoothing_loss",
    "no_exact_zeros",
    "proximal_descent",
    "smoothed_minimum",
    "soft_threshold",
    "stopped_on_test",
]
