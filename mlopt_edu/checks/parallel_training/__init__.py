"""Exercise 14: gradients of many ranks, what they send, own and wait for.

Papers: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
workstations", 2009 (task 3); Stich, "Local SGD Converges Fast and Communicates Little",
2018, arXiv:1805.09767 (task 7); Rajbhandari et al., "ZeRO", 2019, arXiv:1910.02054,
section 3.1 and Figure 1 (tasks 8 and 9); Shoeybi et al., "Megatron-LM", 2019,
arXiv:1909.08053, section 3 (task 10); Huang et al., "GPipe", 2018, arXiv:1811.06965,
section 2.3 (task 11); Narayanan et al., "Memory-Efficient Pipeline-Parallel DNN
Training", 2020, arXiv:2006.09503 (task 12). Differs from the papers: nothing is
recomputed, and all ranks live in one process, as the entries of a list.

One task a file, imported in the order in which the exercise asks them.
"""

# ruff: noqa: I001 (the order is that of the tasks)
from ._train_on_shards import train_on_shards
from ._threads_per_rank import threads_per_rank
from ._ring_all_reduce import ring_all_reduce
from ._combine_gradients import combine_gradients
from ._train_accumulated import train_accumulated
from ._rank_indices import rank_indices
from ._local_descent import local_descent
from ._zero_memory import zero_memory
from ._owned_elements import owned_elements
from ._parallel_mlp import parallel_mlp
from ._bubble_share import bubble_share
from ._stage_order import stage_order
from ._split_by_speed import split_by_speed
from ._choices import amdahl_limit, spawn_without_guard, where_tpus_fit

__all__ = [
    "amdahl_limit",
    "bubble_share",
    "combine_gradients",
    "local_descent",
    "owned_elements",
    "parallel_mlp",
    "rank_indices",
    "ring_all_reduce",
    "spawn_without_guard",
    "split_by_speed",
    "stage_order",
    "threads_per_rank",
    "train_accumulated",
    "train_on_shards",
    "where_tpus_fit",
    "zero_memory",
]
