"""Figures of the lessons: numbers in, one Figure out."""

from mlopt_edu.plots._figure import COLORS, DASHES, INK, STYLE, Shown, new_figure, show
from mlopt_edu.plots.architectures_and_initialization import savings, signals
from mlopt_edu.plots.curves import intervals, lines, loss_curves
from mlopt_edu.plots.gpu_kernels import roofline
from mlopt_edu.plots.gradient_descent import (
    measured_against_predicted,
    paths,
    spectra,
)
from mlopt_edu.plots.images import images
from mlopt_edu.plots.mixed_precision import octaves
from mlopt_edu.plots.parallel_training import schedule

__all__ = [
    "COLORS",
    "DASHES",
    "INK",
    "STYLE",
    "Shown",
    "images",
    "intervals",
    "lines",
    "loss_curves",
    "measured_against_predicted",
    "new_figure",
    "octaves",
    "paths",
    "roofline",
    "savings",
    "schedule",
    "show",
    "signals",
    "spectra",
]
