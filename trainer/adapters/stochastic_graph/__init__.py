"""Turns a single stochastic pass, as ONNX, into T passes with everything else computed once."""

from trainer.adapters.stochastic_graph.draws import DrawSource
from trainer.adapters.stochastic_graph.transformation import PassPlan, repeat_passes

__all__ = ["DrawSource", "PassPlan", "repeat_passes"]
