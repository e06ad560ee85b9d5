"""How GR00T reads the task, and how it is trained."""

from isaaclab.utils import configclass

from gr00t_rl.cfg import ActionKeyCfg, Gr00tCameraFinetuneRunnerCfg, ModalityCfg, StateKeyCfg
from gr00t_rl.tasks.agents import act_on, train_adapters

MODALITY = ModalityCfg(
    # name in datasets and checkpoints -> observation group
    video={"scene": "top", "wrist": "forearm"},
    # name -> columns of an observation group, and how the network sees them
    state={
        "joint_angles": StateKeyCfg(group="policy", start=0, end=2, normalization=None, sin_cos=True),
        "joint_speeds": StateKeyCfg(group="policy", start=2, end=4, normalization="q99"),
    },
    # name -> numbers of the env's action, here in rad/s: they need not lie in [-1, 1]; at 0 the arm stays where it is,
    # so they are changes. Targets, such as joint angles, have absolute=True and the name of their state key
    action={"joint_velocities": ActionKeyCfg(start=0, end=2, normalization="q99", absolute=False)},
)


@configclass
class ReachRunnerCfg(Gr00tCameraFinetuneRunnerCfg):
    """PPO from a base policy, from pictures."""

    experiment_name: str = "my_robot_reach"

    def __post_init__(self):
        super().__post_init__()
        # the actor reads these keys, and all envs decide at the same steps: pictures are taken once per chunk
        act_on(self, MODALITY)
        self.actor.checkpoint = "./checkpoints/my_robot"  # what gr00t-rl finetune writes


@configclass
class ReachLoraRunnerCfg(ReachRunnerCfg):
    """The same with LoRA adapters in the DiT, and nothing else trained: for a checkpoint of the released size."""

    def __post_init__(self):
        super().__post_init__()
        train_adapters(self)
