"""The few-shot learners by name."""

from collections.abc import Callable

from metarl.core.errors import MetaRLError
from metarl.fewshot.backbone import Backbone, backbone_for
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.finetuning import FineTuning
from metarl.fewshot.learners.full_context import FullContextEmbeddings
from metarl.fewshot.learners.gradient import MAML, Reptile
from metarl.fewshot.learners.memory import MemoryLearner
from metarl.fewshot.learners.meta_lstm import MetaLSTM
from metarl.fewshot.learners.metric import Prototypical, Relation
from metarl.fewshot.learners.neural_process import NeuralProcess
from metarl.fewshot.learners.pairs import Matching, Siamese

_OF_NUMBERS = ("maml", "fomaml", "meta-sgd", "anil", "reptile", "meta-lstm", "neural-process")  # beside classes
# Those whose parameters are the same for any number of classes.
_ANY_WAY: dict[str, Callable[[Backbone, int], FewShotLearner]] = {
    "prototypical": Prototypical,
    "matching": Matching,
    "matching-fce": FullContextEmbeddings,
    "relation": Relation,
    "siamese": Siamese,
}


def make_learner(config: FewShotConfig, kind: DataSpec, way: int | None = None) -> FewShotLearner:
    """The learner of a config for samples of a kind, to tell ``way`` classes apart, training's unless given.

    Raises where the learner cannot: numbers to predict or so many classes.
    """
    made_for = config.episode.largest.way
    way = made_for if way is None else way
    if config.learner == "neural-process":
        if kind.outputs is None:
            raise MetaRLError("neural-process predicts numbers; for classes take prototypical, which pools as it does.")
        return NeuralProcess(kind.n_inputs, kind.outputs, config.width)
    backbone = backbone_for(kind.shape, config.width, config.strided)
    if kind.outputs is not None and config.learner not in _OF_NUMBERS:
        raise MetaRLError(f"{config.learner} tells classes apart; for numbers take {', '.join(_OF_NUMBERS)}.")
    if config.learner in _ANY_WAY:
        return _ANY_WAY[config.learner](backbone, way)
    if config.learner.startswith("finetune"):
        return FineTuning(backbone, way, kind.classes, config.tuning)
    if way > made_for:
        raise MetaRLError(
            f"{config.learner} was made for {made_for} classes and cannot tell {way} apart; train it with more "
            "(episode.way), or take one that compares, such as prototypical."
        )
    if config.learner in ("mann", "snail"):
        return MemoryLearner(backbone, made_for, config.memory)
    regression, outputs = kind.outputs is not None, kind.outputs or made_for
    if config.learner == "meta-lstm":
        return MetaLSTM(backbone, outputs, config.gradient, regression=regression, hidden=config.update_width)
    learner = Reptile if config.learner == "reptile" else MAML
    return learner(backbone, outputs, config.gradient, regression=regression)
