"""An optimizer around another: one set of groups, one state, one `state_dict`."""

from collections import defaultdict
from typing import Any

from torch import Tensor
from torch.optim.optimizer import Optimizer


class Wrapper(Optimizer):
    """Base of optimizers that steer another one.

    Its parameter groups and state are those of the inner optimizer, with options and
    buffers of its own among them. So learning-rate schedulers work on either, and one
    `state_dict` holds both.

    Args:
        optimizer: The inner optimizer, of any class.
        defaults: Options that the wrapper adds to every group.
    """

    def __init__(self, optimizer: Optimizer, defaults: dict[str, Any]) -> None:
        self.optimizer = optimizer
        groups, state = optimizer.param_groups, optimizer.state
        try:
            # This empties both, which are the inner one's, and adds the groups again.
            super().__init__(groups, {**optimizer.defaults, **defaults})
        finally:
            optimizer.param_groups, optimizer.state = groups, state

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of the inner optimizer."""
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.optimizer.param_groups = groups

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """The state of the inner optimizer."""
        return self.optimizer.state

    @state.setter
    def state(self, state: defaultdict[Tensor, Any]) -> None:
        self.optimizer.state = state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it leaves out take the defaults."""
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        self.optimizer.add_param_group(param_group)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and deepcopy keep."""
        return {"defaults": self.defaults, "optimizer": self.optimizer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what pickle kept, or what `load_state_dict` has read."""
        if "optimizer" in state:
            super().__setstate__(state)
        else:
            self.optimizer.__setstate__(state)
