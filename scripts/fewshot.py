"""Train a few-shot learner and score it on unseen classes: ``python scripts/fewshot.py maml --source omniglot``.

Scores are inductive: a query is predicted from the support alone, whatever other queries are beside it.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from metarl.errors import MetaRLError
from metarl.fewshot.config import recipe
from metarl.fewshot.episodes import Shape
from metarl.fewshot.model import FewShot
from metarl.fewshot.sources import make_source
from metarl.process import prepare_process


def main(
    learner: Annotated[str, tyro.conf.Positional],
    source: str = "strokes",
    iterations: int | None = None,
    way: int = 5,
    shot: int = 1,
    episodes: int = 1000,
    seed: int = 0,
    output: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    threads: int = 1,
) -> int:
    """Train and score.

    Args:
        learner: prototypical, matching, relation, siamese, maml, fomaml, meta-sgd, anil or reptile.
        source: strokes, which needs no file, omniglot, or folder:PATH of your own images.
        iterations: of training; the learner's own unless given.
        way: classes of a scored episode.
        shot: labelled samples of each.
        episodes: scored, with 15 queries of each class.
        seed: of the training.
        output: where to write the learner, every minute and at the end; runs/fewshot-LEARNER-SOURCE unless given.
        resume: go on from there.
        device: such as cuda.
        threads: torch's.
    """
    try:
        prepare_process(threads)
        made, config, shape = make_source(source), recipe(learner), Shape(way, shot)
        config = config if iterations is None else replace(config, iterations=iterations)
        path = output or Path(
            "runs", f"fewshot-{learner}-{source.replace(':', '-').replace('/', '-')}-{seed}.safetensors"
        )
        model = FewShot.load(path, device) if resume else FewShot(config, made.shape, seed=seed, device=device)
        if (model.config, model.seed) != (config, seed):
            raise MetaRLError(
                f"{path} holds {model.config}, seed {model.seed}; resume it with its own learner, iterations and seed."
            )
        model.check(made.part("test"), shape)
        saved = time.monotonic()
        with tqdm(total=model.config.iterations, initial=model.iteration, unit="it") as bar:

            def report(model: FewShot, logged: dict[str, float]) -> None:
                nonlocal saved
                bar.update()
                bar.set_postfix({name: f"{value:.3f}" for name, value in logged.items() if name != "objective"})
                if time.monotonic() - saved > 60:
                    model.save(path)
                    saved = time.monotonic()

            model.fit(made, callback=report)
        model.save(path)
        scores = model.evaluate(made.part("test"), shape, episodes)
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    half = 1.96 * scores.std() / np.sqrt(max(1, len(scores) - 1))
    print(f"{learner} on {source}, {way}-way {shot}-shot, {episodes} episodes of test classes, inductive: "
          f"{100 * scores.mean():.2f} ± {100 * half:.2f} %. Saved {path}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
