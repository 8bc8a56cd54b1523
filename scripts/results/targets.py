"""What each published run is measured against, and what its recipe was tuned on.

``target`` is a bound of ours and ``basis`` says what that bound is: a share of the optimum, or the upper end of the
best baseline's interval (the lower end where an error should be small). ``published`` is what a paper printed, for its
setting or with the setting in words. ``budget`` is the number of steps that the reference was trained on.
"""

from typing import Any

from metarl.fewshot.learners.registry import learner_names

Target = dict[str, Any]


def _figure(name: str, target: str | None = None, basis: str | None = None, **more: Any) -> Target:
    return {"name": name, "target": target, "basis": basis, **more}


_GAP = "share of the gap from standing still to the optimum"
_FINE_TUNED = "fine-tuning's upper end"
_MULTITASK_VELOCITY = "multi-task's upper end, as multitask-sac"
# The optimum that knows the goal earns 11.07 an episode, and no first episode earns more than 4.00.
_GRID = [
    _figure("return episode 2", ">= 9.96", "90% of the optimum that knows the goal"),
    _figure("return episode 4", ">= 10.96", "99% of the optimum that knows the goal"),
    _figure("return trial", ">= 36.1", "97% of the most there can be, 4.00 + 3 × 11.07"),
]

# By agent, family and variant. Published are tables 1 and 2 of RL²'s paper (Duan et al. 2016). Finn et al. 2017 print
# no number for point navigation, only curves (figure 4), and so do all papers for the half-cheetahs.
TARGETS: dict[tuple[str, str, str], list[Target]] = {
    ("maml", "metarl/PointNavigation-v0", "maml"): [
        _figure("normalised step 1", ">= 0.70", _GAP),
        _figure("normalised step 3", ">= 0.93", _GAP),
    ],
    # pytorch-maml-rl: 500 iterations of 20 tasks × 20 episodes × 100 steps, twice.
    ("maml-trpo", "metarl/PointNavigation-v0", "maml"): [
        _figure("normalised step 1", ">= 0.40", _FINE_TUNED, budget=40_000_000)
    ],
    ("maml-trpo-subsampled", "metarl/PointNavigation-v0", "maml"): [
        _figure("normalised step 1", ">= 0.631", "maml-trpo's lower end, from all states"),
        _figure("normalised step 3", ">= 0.9406", "maml-trpo's lower end, from all states"),
    ],
    # ProMP's code: 1001 iterations of 40 tasks × 20 episodes × 100 steps, twice.
    ("maml-promp", "metarl/PointNavigation-v0", "maml"): [
        _figure("normalised step 1", ">= 0.40", _FINE_TUNED, budget=160_160_000)
    ],
    # pytorch-maml-rl: 500 iterations of 40 tasks × 20 episodes × 100 steps, twice.
    ("maml-locomotion", "metarl/HalfCheetahDir-v0", "maml"): [
        _figure("return step 1", ">= 45", _FINE_TUNED, budget=80_000_000),
        _figure("return step 3", ">= 45", _FINE_TUNED, budget=80_000_000),
    ],
    # Where the gap between the two begins to mean something: a constant 1.5 m/s earns about -150.
    ("oracle-sac", "metarl/HalfCheetahVel-v0", "pearl"): [
        _figure("return", ">= -60", "what makes it an oracle to measure by")
    ],
    ("multitask-sac", "metarl/HalfCheetahVel-v0", "pearl"): [
        _figure("return", ">= -175", "what makes it a floor to measure by; a constant 1.5 m/s earns −150")
    ],
    # Finite-horizon Gittins earns 78.6, 83.7 and 85.5, greedy 75.7, 79.2 and 80.4.
    ("rl2-bandit", "metarl/BernoulliBandit-v0", "k5"): [
        _figure("n=100 k=5", ">= 78.2", "99.5% of finite-horizon Gittins", published=78.7)
    ],
    ("rl2-bandit-wide", "metarl/BernoulliBandit-v0", "k10"): [
        _figure("n=100 k=10", ">= 83.3", "99.5% of finite-horizon Gittins", published=83.5)
    ],
    ("rl2-bandit-wide", "metarl/BernoulliBandit-v0", "k50"): [
        _figure("n=100 k=50", ">= 85.1", "99.5% of finite-horizon Gittins", published=84.9)
    ],
    # So short a trial tells nobody apart: greedy earns 6.63 and 6.69.
    ("rl2-bandit-10", "metarl/BernoulliBandit-v0", "k5"): [
        _figure("n=10 k=5", ">= 6.66", "finite-horizon Gittins, the optimum", published=6.7)
    ],
    ("rl2-bandit-10", "metarl/BernoulliBandit-v0", "k10"): [
        _figure("n=10 k=10", ">= 6.71", "finite-horizon Gittins, the optimum", published=6.7)
    ],
    # Posterior sampling earns 134.5 here.
    ("rl2-tabular", "metarl/TabularMDP-v0", "rl2"): [
        _figure("n=10", ">= 144.1", "OPSRL, the best baseline of RL²'s paper", published=156.2)
    ],
    ("rl2", "metarl/GridNavi-v0", "varibad"): _GRID,
    ("varibad", "metarl/GridNavi-v0", "varibad"): _GRID,
    ("varibad-semicircle", "metarl/SparseSemicircle-v0", "varibad"): [
        _figure("return episode 3", ">= 87.5", "half way from the best sweep, 81.6, to the optimum, 93.4")
    ],
    # It balances half of the tasks and drops the others.
    ("rl2-control", "metarl/CartPole-v0", "reversed"): [
        _figure("return episode 2", ">= 112.1", "multi-task's upper end, on as many steps")
    ],
    **{
        (f"rl2-rule-{memory}", "metarl/RuleGrid-v0", "full"): [
            _figure("normalised episode 4", "> 0", "the best task-blind policy, try in turn")
        ]
        for memory in ("grid", "attention")
    },
    ("rl2-locomotion", "metarl/HalfCheetahVel-v0", "pearl"): [
        _figure("return episode 2", ">= -123", _MULTITASK_VELOCITY)
    ],
    ("rl2-locomotion", "metarl/HalfCheetahDir-v0", "pearl"): [
        _figure("return episode 2", ">= 789", "the oracle's lower end, on as many steps")
    ],
    # Single episodes are noisy, so several are averaged.
    ("pearl-semicircle", "metarl/SparseSemicircle-v0", "pearl"): [
        _figure("return episodes 16-20", ">= 11.4", "85% of the optimum, 13.36"),
        _figure("return episodes 16-20, deterministic", ">= 11.4", "85% of the optimum, 13.36"),
    ],
    ("pearl-point", "metarl/PointNavigation-v0", "pearl"): [
        _figure("normalised episodes 8-10", ">= 0.87", "share of the gap from the centre to the optimum"),
        _figure(
            "normalised episodes 8-10, deterministic", ">= 0.87", "share of the gap from the centre to the optimum"
        ),
    ],
    # Two episodes explore.
    ("pearl-cheetah", "metarl/HalfCheetahVel-v0", "pearl"): [
        _figure("return episode 3", ">= -123", _MULTITASK_VELOCITY)
    ],
}

# One run of MAML's own code (10 shots: .363 ± .033, .233 ± .056 and .208 ± .106 after 1, 5 and 10 steps; 5 shots:
# .645 ± .057 after 1, and it diverges by 10).
_CODE = "upper end of one run of MAML's own code"
# Tasks that the papers' runs were trained on: what is trained on fewer is not a reproduction, whatever it reaches.
_MAML_BUDGET, _METRIC_BUDGET = 32 * 60_000, 20_000
_PIXELS = _figure("5w1s", "> 51.5", "nearest neighbour by the cosine of pixels", budget=_MAML_BUDGET)
_SHORT = _figure("5w1s", ">= 82.8", "upper end of the best fine-tuning, at the same budget", budget=_MAML_BUDGET)
_SIMPLE = ("finetune", "multitask")  # what meta-learners have to beat
_PUBLIC = "best public re-implementation"


def _fewshot(name: str, target: float, published: float | str, **more: Any) -> Target:
    return _figure(name, f">= {target}", _PUBLIC, published=published, **more)


# By label and data set. Published are the figures of each method's own paper; those of FOMAML are from Reptile's
# (Nichol et al. 2018), those of Siamese networks from Matching Networks' (Vinyals et al. 2016). For ANIL we know of
# none. "short" has the same few minutes for all, and "paper" the literature's budget, for a GPU.
FEWSHOT_TARGETS: dict[tuple[str, str], list[Target]] = {
    ("prototypical", "omniglot"): [
        _fewshot("5w1s", 98.2, 98.8, budget=_METRIC_BUDGET),
        _fewshot("5w5s", 99.4, 99.7, budget=_METRIC_BUDGET),
    ],
    # On 5 shots it is another: trained for one step on one sample of a class it diverges there (docs/few_shot.md).
    ("maml", "omniglot"): [_fewshot("5w1s", 98.1, "98.7, transductive", budget=_MAML_BUDGET)],
    ("maml-sinusoid", "sinusoid"): [
        _figure("mse 10-shot step 1", "<= 0.40", _CODE),
        _figure("mse 10-shot step 5", "<= 0.29", _CODE),
        _figure("mse 10-shot step 10", "<= 0.32", _CODE),
        _figure("mse 5-shot step 10", "<= 0.70", f"{_CODE}, after its best step, the first"),
    ],
    # Its paper's sinusoids vary in frequency too, so what it printed belongs to another setting.
    ("meta-sgd-sinusoid", "sinusoid"): [_figure("mse 10-shot step 1", "<= 0.322", "lower end of maml-sinusoid")],
    ("neural-process", "sinusoid"): [_figure("mse 10-shot", "<= 0.058", "lower end of maml-sinusoid after 10 steps")],
    **{(f"{name}-short", "omniglot"): [_PIXELS if name.startswith(_SIMPLE) else _SHORT] for name in learner_names()},
    ("prototypical-paper", "omniglot"): [_fewshot("5w1s", 98.2, 98.8), _fewshot("20w1s", 95.8, 96.0)],
    ("prototypical-paper-5-shot", "omniglot"): [_fewshot("5w5s", 99.4, 99.7), _fewshot("20w5s", 98.6, 98.9)],
    ("maml-paper", "omniglot"): [_fewshot("5w1s", 98.1, "98.7, transductive")],
    ("maml-paper-5-shot", "omniglot"): [_fewshot("5w5s", 99.8, "99.9, transductive")],
    ("maml-paper-20-way", "omniglot"): [_fewshot("20w1s", 91.6, "95.8, transductive")],
    ("matching-paper", "omniglot"): [_figure("5w1s", published=98.1)],
    ("relation-paper", "omniglot"): [_figure("5w1s", published=99.6)],
    ("siamese-paper", "omniglot"): [_figure("5w1s", published=97.3)],
    ("fomaml-paper", "omniglot"): [_figure("5w1s", published="98.3, transductive")],
    ("meta-sgd-paper", "omniglot"): [_figure("5w1s", published=99.53)],
    ("anil-paper", "omniglot"): [_figure("5w1s", ">= 82.8", "upper end of the best fine-tuning, in few minutes")],
    ("snail-paper", "omniglot"): [_figure("5w1s", published=99.07)],
    ("reptile-paper", "omniglot"): [_figure("5w1s", published=95.39)],
    ("mann-paper", "omniglot"): [_figure("5w1s", published=82.8)],
}

# What the recipe of an agent or learner was chosen by, by its label. Recipes of before there was a validation split
# were chosen by the scores on test tasks, or nobody wrote down by which; both are called "test".
TUNED_ON: dict[str, str] = {
    **dict.fromkeys(("maml-trpo", "maml-promp"), "published recipe"),
    # By the returns of training.
    **dict.fromkeys(("rl2-rule-grid", "rl2-rule-attention", "rl2-pendulum", "multitask-pendulum"), "train"),
    **dict.fromkeys(("maml-paper", "maml-paper-5-shot", "maml-paper-20-way"), "published recipe"),
    **dict.fromkeys(("prototypical-paper", "prototypical-paper-5-shot"), "published recipe"),
}


def tuned_on(label: str) -> str:
    """Return the split that the recipe of a label was chosen by."""
    return TUNED_ON.get(label, "test")
