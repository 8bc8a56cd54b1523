"""Task families, one idea a file."""

# Before anything else: from the root of the repository Python would take this folder for a package named envs.
if __name__ != "metarl.envs":
    raise ImportError("This folder is installed under another name; write `import metarl.envs`, not `import envs`.")

# Family id -> the module that registers it, imported when the family is first asked for.
FAMILIES: dict[str, str] = {
    "metarl/PointNavigation-v0": "metarl.envs.navigation",
    "metarl/SparseSemicircle-v0": "metarl.envs.semicircle",
    "metarl/BernoulliBandit-v0": "metarl.envs.bandit",
    "metarl/TabularMDP-v0": "metarl.envs.tabular",
    "metarl/GridNavi-v0": "metarl.envs.gridnavi",
    "metarl/CartPole-v0": "metarl.envs.cartpole",
    "metarl/Pendulum-v0": "metarl.envs.pendulum",
    "metarl/RuleGrid-v0": "metarl.envs.rule_grid",
    "metarl/HalfCheetahVel-v0": "metarl.envs.half_cheetah",
    "metarl/HalfCheetahDir-v0": "metarl.envs.half_cheetah",
    "metarl/AntDir-v0": "metarl.envs.ant",
    "metarl/AntVel-v0": "metarl.envs.ant",
    "metarl/AntGoal-v0": "metarl.envs.ant",
    "metarl/HumanoidDir-v0": "metarl.envs.humanoid",
    "metarl/Walker2dRandParams-v0": "metarl.envs.random_dynamics",
    "metarl/HopperRandParams-v0": "metarl.envs.random_dynamics",
    "metarl/HalfCheetahRandParams-v0": "metarl.envs.random_dynamics",
    "metarl/AntRandParams-v0": "metarl.envs.random_dynamics",
    "metarl/DamagedLimb-v0": "metarl.envs.half_cheetah_perturbed",
    "metarl/Payload-v0": "metarl.envs.half_cheetah_perturbed",
    "metarl/Slope-v0": "metarl.envs.half_cheetah_perturbed",
    "metarl/Reacher-v0": "metarl.envs.reacher_pusher",
    "metarl/Pusher-v0": "metarl.envs.reacher_pusher",
}
