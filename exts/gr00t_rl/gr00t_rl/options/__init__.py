# SPDX-License-Identifier: BSD-3-Clause
"""Every option, declared once; constructors, cfg classes, checks and documentation read it here.

Nothing of the network, of rsl_rl or of Isaac Lab is imported.
"""

from .actor import FLASH, FlowActorOptions, FlowMlpActorOptions, Gr00tActorOptions, HeadOptions, fixed_noise
from .algorithm import PARTS, GrpoOptions, PartOptions, PpoOptions, SurrogateOptions
from .base import Options
from .check import check_known, check_value, check_values, expected, unknown
from .declaration import Declared, Option, Relation, declared, option
from .mlp import (
    FeatureCriticOptions,
    GaussianOptions,
    MlpOptions,
    OrthogonalMlpOptions,
    OrthogonalRnnOptions,
    RnnOptions,
)
from .run import (
    CurriculumOptions,
    EnvOptions,
    RewardOptions,
    RunnerOptions,
    SceneOptions,
    SimulationOptions,
    TabletopOptions,
    TaskOptions,
)

BY_CLASS_NAME: dict[str, type[Options]] = {
    "gr00t_rl.algorithms:PPO": PpoOptions,
    "gr00t_rl.algorithms:GRPO": GrpoOptions,
    "gr00t_rl.models:Gr00tActor": Gr00tActorOptions,
    "gr00t_rl.models:FlowMlpActor": FlowMlpActorOptions,
    "gr00t_rl.models:Gr00tFeatureCritic": FeatureCriticOptions,
    "gr00t_rl.models:OrthogonalMLPModel": OrthogonalMlpOptions,
    "gr00t_rl.models:OrthogonalRNNModel": OrthogonalRnnOptions,
    "MLPModel": MlpOptions,
    "RNNModel": RnnOptions,
    "GaussianDistribution": GaussianOptions,
    "HeteroscedasticGaussianDistribution": GaussianOptions,
}
"""Options by the ``class_name`` of a cfg; ours also go by their bare names, see :func:`options_of`."""


def options_of(class_name: str) -> type[Options] | None:
    """Return the options of a class that a cfg names, or None for classes that are not ours to check."""
    found = BY_CLASS_NAME.get(class_name)
    # models are known to rsl_rl by bare name; "PPO" alone is rsl_rl's own
    return found or (None if class_name in ("PPO", "GRPO") else BY_CLASS_NAME.get(f"gr00t_rl.models:{class_name}"))
