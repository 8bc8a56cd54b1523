"""The rules by name."""

from collections.abc import Callable

from metarl.learned_optimizer.lstm_rule import LSTMRule
from metarl.learned_optimizer.mlp_rule import MLPRule
from metarl.learned_optimizer.unroll import Rule

RULES: dict[str, Callable[[], Rule]] = {"mlp": MLPRule, "lstm": LSTMRule}
