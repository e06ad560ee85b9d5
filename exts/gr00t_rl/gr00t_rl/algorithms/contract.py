# SPDX-License-Identifier: BSD-3-Clause
"""What of rsl_rl's own PPO configuration ours does not implement, refused by name."""

from __future__ import annotations

from typing import Any

from rsl_rl.models import RNNModel

from ..utils.errors import ConfigurationError

# option of rsl_rl's PPO: the values that mean "off"
_NOT_IMPLEMENTED = {
    "symmetry_cfg": (None,),
    "use_mixed_precision": (False,),
    "optimizer": ("adam",),
}


def refuse_unsupported(
    runner_cfg: dict[str, Any], algorithm_cfg: dict[str, Any], actor_class: Any, critic_class: Any
) -> None:
    """Remove rsl_rl options that are switched off from ``algorithm_cfg``, in place.

    Args:
        runner_cfg: The runner's configuration.
        algorithm_cfg: Keyword arguments of the algorithm.
        actor_class: Class of the actor.
        critic_class: Class of the critic.

    Raises:
        ConfigurationError: If an option that our algorithms do not implement is switched on, or a recurrent model
            stands where it cannot.
    """
    for name, off in _NOT_IMPLEMENTED.items():
        value = algorithm_cfg.pop(name, off[0])
        if value not in off:
            raise ConfigurationError(
                f"gr00t_rl.algorithms does not implement algorithm.{name}={value!r}; set it to {off[0]!r} or use "
                'rsl_rl\'s own algorithm (class_name "PPO")'
            )
    mode = runner_cfg.get("torch_compile_mode")
    if mode is not None:
        raise ConfigurationError(
            f"gr00t_rl.algorithms does not implement torch_compile_mode={mode!r}; set it to None or use rsl_rl's own "
            'algorithm (class_name "PPO")'
        )
    for name, model_class in (("actor", actor_class), ("critic", critic_class)):
        if not getattr(model_class, "is_recurrent", False):
            continue
        if not issubclass(model_class, RNNModel):
            raise ConfigurationError(
                f"{name}.class_name={model_class.__name__!r} is recurrent, but no RNNModel; use RNNModel or a sub-class"
            )
        if hasattr(actor_class, "decide"):
            raise ConfigurationError(
                f"{name}.class_name={model_class.__name__!r} is recurrent, which needs an actor with one decision per "
                f"env step, but actor.class_name is {actor_class.__name__!r}; use MLPModel as the {name}"
            )
