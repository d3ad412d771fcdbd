"""How to share a GPT over a cluster: the fastest split, and where its time goes.

The browser tries all splits under the model of cost of `mlopt_edu.parallel`
(parallel_training.js) and draws the best of each kind (cluster_planner.js).
"""

from typing import ClassVar

from traitlets import Enum, Float, Int

from mlopt_edu.widgets._panels import PanelWidget, sources


class ClusterPlanner(PanelWidget):
    """Time, memory and efficiency of the best split of a model over many devices.

    Hosts have 8 devices of 80 GB that reach 165 TFLOP/s in half precision; inside a
    host a link carries 240 GB/s. Every argument is also an attribute that follows the
    controls and moves them.

    Args:
        devices: Number of devices as a power of two: 2 ** devices, in [0, 14].
        model: Parameters in billions, by name: "1.7", "7.5", "39", "175" or "530".
        bandwidth: GB/s of a device's link between hosts, in [0.1, 100].
        batch: Samples of a step as a power of two: 2 ** batch, in [4, 14].
        split: What may be used besides data parallelism and ZeRO: "all", "data"
            (nothing), "tensor" or "pipeline".
        unlocked: Whether the controls may be moved; see `Prediction.unlocks`.

    Raises:
        TraitError: If a value is of the wrong type or out of its range.
    """

    _esm = sources("panels.js", "parallel_training.js", "cluster_planner.js")
    _css = sources("style.css", "panels.css", "parallel_training.css")

    MODELS: ClassVar = {  # layers, width, heads; arXiv:2104.04473, and GPT-3
        "1.7": (24, 2304, 24),
        "7.5": (36, 4096, 32),
        "39": (48, 8192, 64),
        "175": (96, 12288, 96),
        "530": (105, 20480, 128),
    }
    SPLITS: ClassVar = ("all", "data", "tensor", "pipeline")
    RANGES: ClassVar = {"devices": (0, 14), "bandwidth": (0.1, 100), "batch": (4, 14)}

    devices = Int().tag(sync=True)
    model = Enum(tuple(MODELS), "7.5").tag(sync=True)
    bandwidth = Float(1).tag(sync=True)
    batch = Int(4).tag(sync=True)
    split = Enum(SPLITS, "all").tag(sync=True)

    def __init__(
        self,
        *,
        devices: int = 6,
        model: str = "7.5",
        bandwidth: float = 20.0,
        batch: int = 9,
        split: str = "all",
        unlocked: bool = True,
    ) -> None:
        settings = {
            "devices": devices,
            "model": model,
            "bandwidth": bandwidth,
            "batch": batch,
            "split": split,
        }
        super().__init__(settings, unlocked=unlocked)
