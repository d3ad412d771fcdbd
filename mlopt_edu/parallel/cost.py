r"""What a step costs on a cluster: time, bytes and memory from a few numbers.

    step = (m + p - 1) · (compute + tensor + hand-over of a micro-batch)
           + what the backward of the last micro-batch does not hide of data
           + the parameters' all-gathers of ZeRO

for p stages, m micro-batches a replica, t ranks a tensor group and d replicas on
n = d t p devices. With Ψ parameters, of which a device works on Ψ / (t p):

    compute    (3 or, recomputing, 4) · forward FLOPs · samples / (t p · FLOP/s)
    tensor     all-reduces of an activation over t ranks
    hand-over  activation forward, gradient back, between stages
    data       all-reduce of the gradients over d ranks; stages 1 and 2 of ZeRO move as
               much, stage 3 half as much more
    all-reduce of n bytes over p ranks   2 (p - 1) (latency + n / (p · bandwidth))

A group that fits a host uses the links inside, otherwise all its traffic is held to the
pace of the links between hosts. Tensor groups are placed first, then replicas, then
stages, so that the most talkative are closest.

Papers: Narayanan et al., "Efficient Large-Scale Language Model Training on GPU
Clusters", 2021, arXiv:2104.04473, equations 2 and 3 and section 3; Rajbhandari et al.,
"ZeRO", 2019, arXiv:1910.02054, sections 3 and 7; Korthikanti et al., 2022,
arXiv:2205.05198, equations 1 and 2, for activations. Differs from the papers: devices
compute at one rate whatever the size of their matrices, and rings are not hierarchical.
"""

from dataclasses import dataclass

from mlopt_edu.parallel.cost_link import Link, all_reduce_bytes, all_reduce_seconds


@dataclass(frozen=True)
class Cluster:
    """Equal devices in equal hosts.

    Attributes:
        flops: FLOP/s that a device reaches when it waits for nothing.
        memory: Bytes of a device.
        inside: Link between devices of one host.
        between: Link between devices of two hosts.
        devices_per_host: At least 1.
    """

    flops: float
    memory: float
    inside: Link
    between: Link
    devices_per_host: int = 8


@dataclass(frozen=True)
class Model:
    """What the costs depend on; `gpt` makes it for a transformer.

    Attributes:
        parameters: Ψ.
        layers: Equal layers that a pipeline may cut between.
        forward_flops: FLOPs of a sample's forward.
        boundary_bytes: Bytes that a sample hands from one layer to the next.
        whole_bytes: Bytes a layer keeps of a sample for the backward, on every rank.
        split_bytes: The same, of which a tensor group's ranks keep a part each.
        all_reduces: All-reduces of a boundary in a layer's forward, under tensor
            parallelism; the backward has as many.
        value_bytes: Bytes of a parameter and of a gradient.
        optimizer_bytes: Bytes of optimizer state a parameter.
    """

    parameters: float
    layers: int
    forward_flops: float
    boundary_bytes: float
    whole_bytes: float = 0.0
    split_bytes: float = 0.0
    all_reduces: int = 2
    value_bytes: float = 2.0
    optimizer_bytes: float = 12.0


@dataclass(frozen=True)
class Plan:
    """How the devices share the work.

    Attributes:
        data: Replicas d.
        tensor: Ranks t that share each layer.
        pipeline: Stages p.
        zero: Stage of ZeRO over the replicas, 0 to 3.
        micro_batch: Samples that go through the pipeline together.
        recompute: Whether layers keep only their input and compute the rest again.
        one_f_one_b: Whether the schedule is 1F1B; otherwise GPipe.
        overlap: Whether gradients are sent during the last backward.
    """

    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    zero: int = 0
    micro_batch: int = 1
    recompute: bool = False
    one_f_one_b: bool = True
    overlap: bool = False

    @property
    def devices(self) -> int:
        """Return d t p."""
        return self.data * self.tensor * self.pipeline


@dataclass(frozen=True)
class Cost:
    """A step on one device: seconds, bytes sent and bytes held.

    The parts of the time add up to `seconds`.
    """

    compute: float
    bubble: float
    tensor: float
    hand_over: float
    data: float
    tensor_bytes: float
    hand_over_bytes: float
    data_bytes: float
    state_bytes: float
    activation_bytes: float

    @property
    def seconds(self) -> float:
        """Return the time of a step."""
        return self.compute + self.bubble + self.tensor + self.hand_over + self.data

    @property
    def memory(self) -> float:
        """Return the bytes that a device must hold."""
        return self.state_bytes + self.activation_bytes


def gpt(
    *, layers: int, hidden: int, heads: int, vocabulary: int = 51200, length: int = 2048
) -> Model:
    """Return the costs of a GPT in half precision with Adam in float32.

    Args:
        layers: Transformer layers, at least 1.
        hidden: Width h.
        heads: Attention heads.
        vocabulary: Different tokens V.
        length: Tokens s of a sample.

    Example:
        >>> gpt3 = gpt(layers=96, hidden=12288, heads=96)
        >>> f"{gpt3.parameters / 1e9:.1f} billion"
        '174.6 billion'
    """
    if min(layers, hidden, heads, vocabulary, length) < 1:
        raise ValueError(
            "layers, hidden, heads, vocabulary and length must each be at least 1, "
            f"got {(layers, hidden, heads, vocabulary, length)}"
        )
    matrices = layers * hidden**2
    others = 13 * layers * hidden + (vocabulary + length) * hidden
    attention = length / (6 * hidden)
    logits = vocabulary / (12 * layers * hidden)
    activation = length * hidden
    return Model(
        parameters=12 * matrices + others,
        layers=layers,
        forward_flops=24 * length * matrices * (1 + attention + logits),
        boundary_bytes=2 * activation,
        whole_bytes=10 * activation,
        split_bytes=activation * (24 + 5 * heads * length / hidden),
    )


def step_cost(model: Model, cluster: Cluster, plan: Plan, *, batch: int) -> Cost:
    """Return what a training step costs a device.

    Args:
        model: What is trained.
        cluster: Where.
        plan: How it is shared.
        batch: Samples of all replicas, a multiple of replicas times micro-batch.

    Raises:
        ValueError: If plan, model and batch do not fit one another.

    Example:
        >>> link = Link(latency=0.0, bandwidth=float("inf"))
        >>> cluster = Cluster(flops=1e12, memory=1e9, inside=link, between=link)
        >>> model = Model(1e6, layers=4, forward_flops=1e10, boundary_bytes=1e3)
        >>> step_cost(model, cluster, Plan(data=4), batch=8).seconds
        0.06
    """
    _check(model, plan, batch)
    d, t, p = plan.data, plan.tensor, plan.pipeline
    n_micro = batch // (d * plan.micro_batch)
    passes = 4 if plan.recompute else 3

    work = passes * model.forward_flops * plan.micro_batch / (t * p * cluster.flops)

    boundary = model.boundary_bytes * plan.micro_batch
    # A recomputed forward reduces once more.
    reduces = model.all_reduces * (passes - 1) * model.layers / p
    tensor_link = _link(cluster, t)
    tensor = reduces * all_reduce_seconds(boundary, t, tensor_link)

    hand_over = hand_over_bytes = 0.0
    if p > 1:
        link = _link(cluster, plan.devices)
        # A tensor group's ranks send a part each.
        hand_over = 2 * (link.latency + boundary / t / link.bandwidth)
        hand_over_bytes = 2 * n_micro * boundary / t

    part = model.parameters / (t * p)
    # In units of one reduce-scatter or one all-gather of Ψ / (t p) values. From stage
    # 2 on no rank keeps whole gradients from one micro-batch to the next.
    exchanges = {0: 2, 1: 2, 2: n_micro + 1, 3: 3 * n_micro}[plan.zero]
    once = all_reduce_seconds(part * model.value_bytes, d, _link(cluster, t * d)) / 2
    data = exchanges * once
    if plan.overlap:
        data = max(0.0, data - work * (passes - 1) / passes)

    slot = work + tensor + hand_over
    return Cost(
        compute=n_micro * work,
        bubble=(p - 1) * slot,
        tensor=n_micro * tensor,
        hand_over=n_micro * hand_over,
        data=data,
        tensor_bytes=n_micro * reduces * all_reduce_bytes(boundary, t),
        hand_over_bytes=hand_over_bytes,
        data_bytes=exchanges / 2 * all_reduce_bytes(part * model.value_bytes, d),
        state_bytes=part * bytes_per_parameter(model, d, plan.zero),
        activation_bytes=_activation_bytes(model, plan, n_micro),
    )


def bytes_per_parameter(model: Model, replicas: int, zero: int) -> float:
    """Return the bytes a device holds for each parameter that it works on.

    Example:
        >>> model = Model(7.5e9, layers=1, forward_flops=1.0, boundary_bytes=1.0)
        >>> [round(7.5 * bytes_per_parameter(model, 64, z), 1) for z in range(4)]
        [120.0, 31.4, 16.6, 1.9]
    """
    held = [model.optimizer_bytes, model.value_bytes, model.value_bytes]
    return sum(
        size / replicas if stage < zero else size for stage, size in enumerate(held)
    )


def _activation_bytes(model: Model, plan: Plan, n_micro: int) -> float:
    layers = model.layers / plan.pipeline
    live = min(n_micro, plan.pipeline) if plan.one_f_one_b else n_micro
    layer = model.whole_bytes + model.split_bytes / plan.tensor
    if plan.recompute:  # every layer's input, and one layer whole
        return plan.micro_batch * (live * layers * model.boundary_bytes + layer)
    return plan.micro_batch * live * layers * layer


def _link(cluster: Cluster, reach: int) -> Link:
    return cluster.inside if reach <= cluster.devices_per_host else cluster.between


def _check(model: Model, plan: Plan, batch: int) -> None:
    sizes = (plan.data, plan.tensor, plan.pipeline, plan.micro_batch)
    if min(sizes) < 1:
        raise ValueError(
            "data, tensor, pipeline and micro_batch must each be at least 1, "
            f"got {sizes}"
        )
    if plan.zero not in range(4):
        raise ValueError(f"zero must be a stage from 0 to 3, got {plan.zero}")
    if model.layers % plan.pipeline:
        raise ValueError(
            f"pipeline must divide the {model.layers} layers, got {plan.pipeline}"
        )
    if batch < 1 or batch % (plan.data * plan.micro_batch):
        raise ValueError(
            "batch must be a multiple of data times micro_batch, "
            f"{plan.data * plan.micro_batch}, got {batch}"
        )
