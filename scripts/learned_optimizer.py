"""Train a learned optimiser, or compare it with tuned Adam: ``python scripts/learned_optimizer.py compare``."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from torch import nn

from metarl.core.checkpoint import save_checkpoint
from metarl.core.files import write_atomic
from metarl.core.process import prepare_process
from metarl.core.random import torch_generator
from metarl.core.types import Params
from metarl.evaluation.statistics import estimate
from metarl.learned_optimizer import LearnedOptimizer
from metarl.learned_optimizer.comparison import Contestant, best_rate, compare, seconds_a_step, tune, tuned_contestants
from metarl.learned_optimizer.meta_gradients import MetaTraining
from metarl.learned_optimizer.optimizer import load_rule
from metarl.learned_optimizer.problems import TRAINED, UNSEEN
from metarl.learned_optimizer.rules import RULES
from metarl.learned_optimizer.training import meta_train

_RECENT = 8  # unrolls of a kind whose mean a line shows
UNTRAINED, TUNED = "untrained", ("adam", "adamw")


def train(
    out: Path,
    rule: Literal["mlp", "lstm"] = "mlp",
    config: MetaTraining = MetaTraining(),  # noqa: B008 - it is frozen
    start: str | None = None,
) -> None:
    """Meta-train a rule, and write its parameters as they become known.

    Args:
        out: the file, a safetensors.
        rule: which.
        config: how.
        start: a file, or the name of shipped weights, to go on from.
    """
    prepare_process(1)
    ended: dict[str, list[float]] = defaultdict(list)

    def report(theta: Params, updates: int, minutes: float, last: dict[str, float]) -> None:
        for kind, loss in last.items():
            ended[kind].append(loss)
        recent = {kind: float(np.mean(losses[-_RECENT:])) for kind, losses in sorted(ended.items())}
        shown = ", ".join(f"{kind} {loss:.2f}" for kind, loss in recent.items())
        print(f"{updates} updates, {minutes:.1f} min; logarithm of the last loss: {shown}", flush=True)
        save_checkpoint(out, theta, {"rule": rule, "updates": updates, "minutes": minutes})

    meta_train(RULES[rule](), config, report, None if start is None else load_rule(start)[1])


def run_comparison(
    out: Path = Path("docs/learned_optimizer.json"),
    weights: tuple[str, ...] = ("default", "lstm"),
    kinds: tuple[str, ...] = (*TRAINED, *UNSEEN),
    seeds: int = 5,
) -> None:
    """Tune Adam and AdamW on each kind, compare all on its test problems, and write a JSON file and a table.

    Args:
        out: the JSON file; what it holds already is not run again, so remove it after training anew.
        weights: of the learned optimisers.
        kinds: of problems.
        seeds: of data, initial models and batches, for each size.
    """
    prepare_process(1)
    learned = [Contestant(name=name, rule=rule, theta=theta) for name in weights for rule, theta in [load_rule(name)]]
    rule = RULES["mlp"]()
    learned.append(Contestant(name=UNTRAINED, rule=rule, theta=rule.init(torch_generator(0, "rule"))))
    found: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {"tuning": {}, "losses": {}}
    for kind in kinds:
        if kind not in found["tuning"]:
            found["tuning"][kind] = tune(kind)
            write_atomic(out, json.dumps(found, indent=1) + "\n")
            print(f"{kind}: {rates(found['tuning'][kind])}", flush=True)
    for kind in kinds:
        known = found["losses"].setdefault(kind, {})
        everyone = [*learned, *tuned_contestants(found["tuning"][kind])]
        if missing := [each for each in everyone if each.name not in known]:
            known |= {name: each.tolist() for name, each in compare(kind, missing, seeds).items()}
            write_atomic(out, json.dumps(found, indent=1) + "\n")
            print(markdown({kind: found["losses"][kind]}, found["tuning"]), flush=True)
    found["milliseconds"] = step_times(weights)
    write_atomic(out, json.dumps(found, indent=1) + "\n")
    print(markdown(found["losses"], found["tuning"]))
    print(json.dumps(found["milliseconds"], indent=1))


def rates(tuned: dict[str, dict[str, float]]) -> str:
    """Return the learning rates that tuning found best, in words."""
    return ", ".join(f"{name} {best_rate(by_rate):g}" for name, by_rate in tuned.items())


def markdown(kinds: dict[str, Any], tuning: dict[str, Any]) -> str:
    """Return a Markdown table: mean losses by kind, and paired differences of the learned one from the tuned ones."""
    names = list(next(iter(kinds.values())))
    lines = [f"| kind | {' | '.join(names)} | default − adam | default − adamw | ratio to the better |"]
    lines.append("|---" * (len(names) + 4) + "|")
    for kind, row in kinds.items():
        losses = {name: np.array(each) for name, each in row.items()}
        cells = [f"{losses[name].mean():.4f}" for name in names]
        for other in TUNED:
            apart = estimate(losses["default"] - losses[other])
            cells.append(f"{apart.value:+.4f} [{apart.interval.low:+.4f}, {apart.interval.high:+.4f}]")
        ratios = [np.exp(np.log(losses["default"] / losses[other]).mean()) for other in TUNED]
        lines.append(f"| {kind} ({rates(tuning[kind])}) | {' | '.join(cells)} | {max(ratios):.2f} |")
    return "\n".join(lines)


def step_times(weights: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return the milliseconds of a step of each optimiser, and of the gradient, on models of two sizes."""
    found: dict[str, dict[str, float]] = {}
    for width in (40, 500):
        inputs = torch.randn(32, 196)
        row: dict[str, float] = {}
        for name in (*weights, "adam", "adamw"):
            torch.manual_seed(0)
            model = nn.Sequential(
                nn.Linear(196, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 20)
            )
            made = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
            optimizer = (
                made[name](model.parameters())
                if name in made
                else LearnedOptimizer(model.parameters(), total_steps=1000, weights=name)
            )
            step, row["gradient"] = (1000 * each for each in seconds_a_step(optimizer, model, inputs))
            row[name] = step
        found[f"{sum(value.numel() for value in model.parameters()):,} parameters"] = row
    return found


if __name__ == "__main__":
    sys.exit(tyro.extras.subcommand_cli_from_dict({"train": train, "compare": run_comparison}, description=__doc__))
