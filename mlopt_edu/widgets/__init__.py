"""Controls for the lessons: to the reader each is an ipywidgets widget.

The mathematics of every widget runs in the browser, so that a saved notebook stays
alive without a kernel.
"""

from importlib.util import find_spec

if find_spec("anywidget") is None:
    raise ModuleNotFoundError(
        'mlopt_edu.widgets needs anywidget: pip install "mlopt-edu[widgets]"',
        name="anywidget",
    )

from mlopt_edu.widgets.adaptive_rates import OptimizerPlayground
from mlopt_edu.widgets.architectures_and_initialization import SignalFlow
from mlopt_edu.widgets.distillation import SoftTargets
from mlopt_edu.widgets.gpu_kernels import TileExplorer
from mlopt_edu.widgets.gradient_descent import LossSurface
from mlopt_edu.widgets.mixed_precision import NumberFormats
from mlopt_edu.widgets.parallel_training import ClusterPlanner
from mlopt_edu.widgets.prediction import Prediction
from mlopt_edu.widgets.pruning import PruningExplorer
from mlopt_edu.widgets.quantization import QuantizationExplorer
from mlopt_edu.widgets.quiz import Quiz
from mlopt_edu.widgets.regularization import ShrinkageExplorer
from mlopt_edu.widgets.schedules import ScheduleExplorer
from mlopt_edu.widgets.stochastic_gradients import NoisyDescent

__all__ = [
    "ClusterPlanner",
    "LossSurface",
    "NoisyDescent",
    "NumberFormats",
    "OptimizerPlayground",
    "Prediction",
    "PruningExplorer",
    "QuantizationExplorer",
    "Quiz",
    "ScheduleExplorer",
    "ShrinkageExplorer",
    "SignalFlow",
    "SoftTargets",
    "TileExplorer",
]
