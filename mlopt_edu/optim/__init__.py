"""Optimizers: each a pure update function that is the equation, and one thin class."""

from mlopt_edu.optim.adadelta import Adadelta, adadelta_update
from mlopt_edu.optim.adafactor import Adafactor, adafactor_update
from mlopt_edu.optim.adagrad import Adagrad, adagrad_update
from mlopt_edu.optim.adam import Adam, adam_update
from mlopt_edu.optim.adamw import AdamW, adamw_update
from mlopt_edu.optim.gradient_descent import GradientDescent, gradient_descent_update
from mlopt_edu.optim.lamb import LAMB, lamb_update
from mlopt_edu.optim.lars import LARS, lars_update
from mlopt_edu.optim.lion import Lion, lion_update
from mlopt_edu.optim.lookahead import Lookahead, lookahead_update
from mlopt_edu.optim.multi_tensor import Tensors
from mlopt_edu.optim.muon import Muon, muon_update
from mlopt_edu.optim.nadam import NAdam, nadam_momentum, nadam_update
from mlopt_edu.optim.orthogonal import newton_schulz
from mlopt_edu.optim.rmsprop import RMSprop, rmsprop_update
from mlopt_edu.optim.sam import SAM, sam_update
from mlopt_edu.optim.schedule_free import schedule_free_update
from mlopt_edu.optim.schedule_free_adamw import ScheduleFreeAdamW
from mlopt_edu.optim.schedule_free_sgd import ScheduleFreeSGD
from mlopt_edu.optim.sgd import SGD, sgd_update
from mlopt_edu.optim.sharpness import max_stable_lr, sharpness

__all__ = [
    "LAMB",
    "LARS",
    "SAM",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradientDescent",
    "Lion",
    "Lookahead",
    "Muon",
    "NAdam",
    "RMSprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Tensors",
    "adadelta_update",
    "adafactor_update",
    "adagrad_update",
    "adam_update",
    "adamw_update",
    "gradient_descent_update",
    "lamb_update",
    "lars_update",
    "lion_update",
    "lookahead_update",
    "max_stable_lr",
    "muon_update",
    "nadam_momentum",
    "nadam_update",
    "newton_schulz",
    "rmsprop_update",
    "sam_update",
    "schedule_free_update",
    "sgd_update",
    "sharpness",
]
