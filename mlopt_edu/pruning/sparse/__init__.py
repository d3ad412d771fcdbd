"""Sparse matrices: what pruning left, in fewer bytes and sometimes less time.

Read `csr` first. A mask alone saves nothing; these forms do, and `break_even` says from
which density on. `sparsify_` puts them into a model.
"""

from mlopt_edu.pruning.sparse.bitmask import Bitmask
from mlopt_edu.pruning.sparse.break_even import (
    bitmask_bytes,
    break_even_density,
    crossing,
    csr_bytes,
    products,
)
from mlopt_edu.pruning.sparse.bsr import BSR
from mlopt_edu.pruning.sparse.csr import CSR
from mlopt_edu.pruning.sparse.linear import SparseLinear, is_linear, sparsify_
from mlopt_edu.pruning.sparse.packed import Packed
from mlopt_edu.pruning.sparse.two_four import TwoFour

__all__ = [
    "BSR",
    "CSR",
    "Bitmask",
    "Packed",
    "SparseLinear",
    "TwoFour",
    "bitmask_bytes",
    "break_even_density",
    "crossing",
    "csr_bytes",
    "is_linear",
    "products",
    "sparsify_",
]
