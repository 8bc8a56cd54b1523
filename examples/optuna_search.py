"""Searching hyperparameters with Optuna: trials are pruned, and chosen, by the return on validation tasks.

``pip install optuna`` first. Test tasks play no part: score the best configuration on them once, at the end.
"""

import sys

import optuna

from metarl import RL2, evaluate

TRIALS, PARTS, STEPS = 3, 3, 2_000  # here for a few seconds; take 30 trials of 10 parts of 200,000 steps, say


def objective(trial: optuna.Trial) -> float:
    """Return what an agent earns in its last episode on validation tasks; trained part by part, so it can be pruned."""
    config = RL2.config_class(
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
        entropy_coef=trial.suggest_float("entropy_coef", 1e-4, 3e-2, log=True),
        width=trial.suggest_categorical("width", [32, 64, 128]),
        schedule_timesteps=PARTS * STEPS,  # of all parts together
        tasks=16,
        minibatches=2,
    )
    agent, value = RL2("metarl/GridNavi-v0", config, seed=trial.number), 0.0
    for part in range(PARTS):
        agent.learn(STEPS, reset_num_timesteps=False)
        value = evaluate(agent, split="val", deterministic=False).rows[-1]["return"]
        trial.report(value, step=agent.num_timesteps)
        if part < PARTS - 1 and trial.should_prune():
            raise optuna.TrialPruned
    return value


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
    # With storage="sqlite:///search.db" and load_if_exists=True many processes search together, and a search goes on.
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0), pruner=pruner)
    study.optimize(objective, n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS)
    states = [trial.state.name.lower() for trial in study.trials]
    print(f"{len(states)} trials ({', '.join(states)}); best return on validation tasks {study.best_value:.2f} with")
    print(study.best_params)
