r"""The vocabulary cut over ranks: no rank ever has all embeddings or all logits.

    embedding        a rank answers for its ids, zeros for the others, then the sum
    cross-entropy    log Σ_j exp(z_j - z_max) - (z_label - z_max), where the sum over
                     classes j and the label's logit come from all ranks

Paper: Shoeybi et al., "Megatron-LM", 2019, arXiv:1909.08053, section 3. Differs from
the paper: the parts may be unequal.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from mlopt_edu.parallel.tensor import Group, reduce_from_group, shard_of, shard_range


class VocabularyParallelEmbedding(nn.Module):
    """A rank's rows of an embedding: the others answer for their ids.

    Args:
        embedding: The whole layer, the same on every rank.
        group: Ranks that share the layer, all by default.

    Shape:
        Ids of any shape (...) to (..., embedding_dim).
    """

    def __init__(self, embedding: nn.Embedding, *, group: Group = None) -> None:
        super().__init__()
        self.group = group
        p = dist.get_world_size(group)
        self.rows = [
            list(shard_range(embedding.num_embeddings, p, r)) for r in range(p)
        ]
        self.ids = shard_range(embedding.num_embeddings, p, dist.get_rank(group))
        self.weight = shard_of(embedding.weight, list(self.ids), 0)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of all ids."""
        local, is_mine = _local(ids, self.ids)
        if len(self.ids):
            vectors = functional.embedding(local, self.weight)
            vectors = vectors * is_mine.unsqueeze(-1)
        else:  # the sum of no rows: zeros that know where they come from
            vectors = self.weight.sum(0).expand(*ids.shape, -1)
        return reduce_from_group(vectors, group=self.group)


def vocabulary_parallel_cross_entropy(
    logits: Tensor, labels: Tensor, vocabulary: int, *, group: Group = None
) -> Tensor:
    """Return the mean cross-entropy from each rank's part of the logits.

    Sent are three numbers a sample (largest logit, sum of exponentials, the label's
    logit) in place of all logits.

    Args:
        logits: This rank's part, of shape (n, size), as `shard_range` cuts
            `vocabulary`.
        labels: int64 tensor of shape (n,), the same on every rank.
        vocabulary: Classes of all ranks.
        group: Ranks that share the classes, all by default.

    Returns:
        Scalar, the same on every rank.

    Raises:
        ValueError: If the logits are not this rank's part.
    """
    mine = shard_range(vocabulary, dist.get_world_size(group), dist.get_rank(group))
    if logits.ndim != 2 or logits.shape[1] != len(mine):
        raise ValueError(
            f"logits must have shape (n, {len(mine)}) on this rank, "
            f"got {tuple(logits.shape)}"
        )
    largest = logits.new_full((len(logits), 1), -torch.inf)
    if len(mine):
        largest = logits.detach().amax(1, keepdim=True)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
    shifted = logits - largest
    exp_sum = reduce_from_group(shifted.exp().sum(1), group=group)
    local, is_mine = _local(labels, mine)
    picked = torch.zeros_like(exp_sum)
    if len(mine):
        picked = shifted.gather(1, local.unsqueeze(1)).squeeze(1) * is_mine
    return (exp_sum.log() - reduce_from_group(picked, group=group)).mean()


def _local(ids: Tensor, mine: range) -> tuple[Tensor, Tensor]:
    """Return ids counted from this rank's first, 0 for others', and which are mine."""
    is_mine = (ids >= mine.start) & (ids < mine.stop)
    return (ids - mine.start).where(is_mine, 0), is_mine
