"""Putting trained models on the Hub, and getting them from there: weights in safetensors, a card, a film."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metarl.algorithm.algorithm import Algorithm
from metarl.algorithm.registry import agent_class
from metarl.core.checkpoint import load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.plugins import AGENTS, trusted
from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.scores import Evaluation
from metarl.evaluation.weights import save_weights, weights_file
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.run import Run
from metarl.fewshot.model import FewShot
from metarl.hub.card import agent_card, learner_card
from metarl.plotting.render import encoded_film

_FILM = 4_000_000  # bytes at most


def push_to_hub(
    run: Run | FewShotRun,
    evaluation: Evaluation | FewShotEvaluation,
    repo_id: str,
    *,
    film: bool = True,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Put a trained run on the Hub, and return its address there.

    What is written is the weights of every seed, the config, the evaluation, a card with the scores as metadata, and of
    an agent whose family has pictures a film, ``replay.mp4`` or ``replay.gif``.

    Args:
        run: of an agent or a few-shot learner, as of ``Run.open(path)``.
        evaluation: of that run; see ``metarl.evaluate`` and ``evaluate_fewshot_run``.
        repo_id: ``user/name``; made where it is not there.
        film: whether to film an agent.
        private: whether a new repository is.
        token: the Hub's; the one that was logged in with unless given.
        endpoint: of another Hub.

    Raises:
        MetaRLError: where the evaluation is of another run or of other checkpoints, or ``huggingface_hub`` is missing.
    """
    hub = _hub()
    if evaluation.made_of != run.fingerprint():
        raise MetaRLError(f"The evaluation is not of {run.path} as it is now; evaluate the run again.")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        save_weights(folder, run)
        write_atomic(folder / "config.json", json.dumps(asdict(run.config), indent=2) + "\n")
        evaluation.save(folder / "evaluation.json")
        if isinstance(run, Run) and isinstance(evaluation, Evaluation):
            card = agent_card(run, evaluation, repo_id)
            if film:
                _film(run, evaluation.split, folder)
        elif isinstance(run, FewShotRun) and isinstance(evaluation, FewShotEvaluation):
            card = learner_card(run, evaluation, repo_id)
        else:
            raise MetaRLError(f"A {type(evaluation).__name__} is no evaluation of a {type(run).__name__}.")
        write_atomic(folder / "README.md", card)
        api = hub.HfApi(endpoint=endpoint, token=token, library_name="metarl")
        with _saying(f"{repo_id} could not be written"):
            api.create_repo(repo_id, private=private, exist_ok=True)
            words = f"Upload {run.path.name}"
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=words).commit_url)


def load_from_hub(
    repo_id: str,
    *,
    seed: int = 0,
    revision: str | None = None,
    device: str = "cpu",
    family: str | None = None,
    agent: str | Sequence[str] = (),
    trust: str | Sequence[str] = (),
    token: str | None = None,
    endpoint: str | None = None,
) -> Algorithm | FewShot:
    """Return an agent or a few-shot learner from the Hub. Nothing is unpickled, and no code is taken from there.

    Args:
        repo_id: ``user/name``.
        seed: which of its seeds.
        revision: a commit, a branch or a tag.
        device: where the model is to be.
        family: ``module:id`` of a family that is not installed.
        agent: ``module:Class`` of an agent that is not installed, or of a few-shot learner.
        trust: each ``module:Class`` that the config may name.
        token: the Hub's; the one that was logged in with unless given.
        endpoint: of another Hub.

    Raises:
        MetaRLError: where there is no such model, or it needs code that was not named.
    """
    hub = _hub()
    name = weights_file(Path(), seed).name
    with _saying(f"{repo_id} has no {name} that can be fetched"):
        path = hub.hf_hub_download(
            repo_id, name, revision=revision, token=token, endpoint=endpoint, library_name="metarl"
        )
    _, about = load_checkpoint(path)
    named = [agent] if isinstance(agent, str) else list(agent)
    if "fewshot" in about:
        return FewShot.load(path, device, learner=named[0] if named else None)
    made = agent_class(trusted(AGENTS, about["agent"], path, named))
    return made.load(path, family, device, trust)


def _film(run: Run, split: str, folder: Path) -> None:
    try:
        content, suffix, _ = encoded_film(run, split, _FILM)
    except MetaRLError:  # without pictures here
        return
    write_atomic(folder / f"replay{suffix}", content)


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Raise what goes wrong between us and the Hub in one line."""
    try:
        yield
    except Exception as error:  # of the library or its client of HTTP, which is another one by version
        lines = [line for line in map(str.strip, str(error).splitlines()) if line]
        raise MetaRLError(f"{what}: {lines[-1] if lines else type(error).__name__}") from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MetaRLError(f"The Hub needs huggingface_hub ({error}): pip install 'metarl-suite[hub]'.") from error
    return huggingface_hub
