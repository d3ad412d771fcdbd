"""The fastest way to share a model over a cluster, found by trying all."""

import math

from mlopt_edu.parallel.cost import Cluster, Cost, Model, Plan, step_cost


def best_plan(
    model: Model, cluster: Cluster, *, devices: int, batch: int
) -> tuple[Plan, Cost] | None:
    """Return the fastest plan that fits the memory, by trying all that divide evenly.

    Tensor groups stay inside a host. Every stage of ZeRO, recomputation or not, and
    micro-batches of 1, 2, 4 and 8 samples are tried.

    Args:
        model: What is trained.
        cluster: Where.
        devices: Devices of the cluster, all used.
        batch: Samples of a step.

    Returns:
        Plan and cost, or None if nothing fits.
    """
    best: tuple[Plan, Cost] | None = None
    for tensor in _divisors(math.gcd(devices, cluster.devices_per_host)):
        for pipeline in _divisors(math.gcd(devices // tensor, model.layers)):
            data = devices // (tensor * pipeline)
            for micro_batch in (1, 2, 4, 8):
                if batch % (data * micro_batch):
                    continue
                for zero in range(4):
                    for recompute in (False, True):
                        plan = Plan(
                            data, tensor, pipeline, zero, micro_batch, recompute
                        )
                        cost = step_cost(model, cluster, plan, batch=batch)
                        if cost.memory > cluster.memory:
                            continue
                        if best is None or cost.seconds < best[1].seconds:
                            best = plan, cost
    return best


def _divisors(n: int) -> list[int]:
    return [k for k in range(1, n + 1) if n % k == 0]
