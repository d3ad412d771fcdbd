"""Exercise 10: masks and what they cost, scores, layers made smaller, sparse storage.

Papers: Han et al., "Learning both Weights and Connections for Efficient Neural
Networks", 2015, arXiv:1506.02626 (tasks 1, 2 and 4); Zhu and Gupta, "To prune, or not
to prune", 2017, arXiv:1710.01878, equation 1 with s_i = 0 (task 3); Frankle and Carbin,
"The Lottery Ticket Hypothesis", 2018, arXiv:1803.03635 (task 5); Sun et al., "A Simple
and Effective Pruning Approach for Large Language Models", 2023, arXiv:2306.11695
(task 6); Luo and Wu, "An Entropy-based Pruning Method for CNN Compression", 2017,
arXiv:1706.05791 (task 7); Li et al., "Pruning Filters for Efficient ConvNets", 2016,
arXiv:1608.08710 (task 8); Liu et al., "Learning Efficient Convolutional Networks
through Network Slimming", 2017, arXiv:1708.06519 (task 9).
Differs from the papers: each unit's bins of task 7 cut its own range.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._prune_smallest import prune_smallest
from ._global_masks import global_masks
from ._cubic_sparsity import cubic_sparsity
from ._train_pruned import train_pruned
from ._lottery_round import lottery_round
from ._wanda_mask import wanda_mask
from ._units_to_keep import units_to_keep
from ._remove_units import remove_units
from ._remove_filters import remove_filters
from ._to_csr import to_csr
from ._sparse_report import sparse_report
from ._choices import huber_criterion, masked_and_faster, snip_when_trained

__all__ = [
    "cubic_sparsity",
    "global_masks",
    "huber_criterion",
    "lottery_round",
    "masked_and_faster",
    "prune_smallest",
    "remove_filters",
    "remove_units",
    "snip_when_trained",
    "sparse_report",
    "to_csr",
    "train_pruned",
    "units_to_keep",
    "wanda_mask",
]
