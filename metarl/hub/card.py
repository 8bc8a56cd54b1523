"""The card of a model on the Hub: what it is, its scores as metadata, and how to use it."""

from collections.abc import Sequence
from typing import Any

from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.rows import interval_text, number
from metarl.evaluation.scores import Evaluation
from metarl.evaluation.statistics import Estimate
from metarl.evaluation.tables import notes, title
from metarl.experiments.run_folder import RunFolder
from metarl.version import __version__

_USE = """\
```bash
pip install 'metarl-suite[hub]'
```

```python
from metarl import load_from_hub

{name} = load_from_hub("{repo_id}")
```
"""


def agent_card(run: RunFolder, evaluation: Evaluation, repo_id: str) -> str:
    """Return the card of an agent, with its scores at the last point of the adaptation curve as results."""
    last = evaluation.points[-1]
    seen = f"after {last.episodes} episode{'s' * (last.episodes != 1)}"
    scores = {f"return {seen}": last.returns, f"normalised return {seen}": last.normalised}
    results = [
        _result("reinforcement-learning", evaluation.family, evaluation.variant, evaluation.split, name, score)
        for name, score in scores.items()
        if score is not None
    ]
    tags = ["reinforcement-learning", "meta-reinforcement-learning", evaluation.family, evaluation.agent]
    return _card(repo_id, "agent", tags, results, title(evaluation), notes(evaluation), run)


def learner_card(run: RunFolder, made: FewShotEvaluation, repo_id: str) -> str:
    """Return the card of a few-shot learner, with its score as a result."""
    score = made.at(made.adaptations[-1])
    name = f"{made.measure} {made.figure}" if made.measure not in made.figure else made.figure
    results = [_result("few-shot-learning", made.dataset, "", made.split, name, score)]
    words = (
        f"{made.values.shape[2]} episodes of the {made.split} split, {made.mark}, after {made.iterations:,} iterations."
    )
    heading = f"{made.called} on {made.dataset}, {made.figure}"
    return _card(repo_id, "learner", ["few-shot-learning", "meta-learning", made.called], results, heading, words, run)


def _result(task: str, data: str, config: str, split: str, name: str, score: Estimate) -> Any:
    from huggingface_hub import EvalResult

    known: dict[str, Any] = {
        "metric_type": name.replace(" ", "_"),
        "metric_name": f"{name}, 95% {interval_text(score.interval)}",
    }
    return EvalResult(
        task_type=task,
        dataset_type=data,
        dataset_name=f"{data} ({config})" if config else data,
        dataset_config=config or None,
        dataset_split=split,
        metric_value=float(score.value),
        **known,
    )


def _card(
    repo_id: str, name: str, tags: Sequence[str], results: list[Any], heading: str, words: str, run: RunFolder
) -> str:
    """Return the card's text, whose metadata the library writes."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        library_name="metarl", model_name=repo_id.rpartition("/")[2], tags=["metarl", *tags], eval_results=results
    )
    scores = "\n".join(f"- {each.metric_name}: {number(each.metric_value)}" for each in results)
    return (
        f"---\n{data}\n---\n\n# {heading}\n\n{words}\n\n{scores}\n\n{_USE.format(name=name, repo_id=repo_id)}\n"
        f"It was trained with metarl {__version__} by\n\n```bash\n{run.command}\n```\n"
    )
