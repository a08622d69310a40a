"""A protocol of somebody else: does a set teach a linear model?"""

from typing import ClassVar

from study.models.pool import ModelConfig
from study.protocols.base import DISTILLED, RANDOM, Findings, Protocol, Session, register, score_row


@register
class Toy(Protocol):
    """A multilayer perceptron of four units on the set and on random real images."""

    name: ClassVar[str] = "toy"
    about: ClassVar[str] = "what a network of four units learns from the set"

    def measure(self, session: Session) -> Findings:
        """One row each."""
        evaluator = session.evaluator.changed(model=ModelConfig(name="mlp", width=4, depth=1))
        scores = {
            DISTILLED: evaluator.score(session.synthetic, session.num_seeds),
            RANDOM: evaluator.random(session.ipc, session.num_seeds),
        }
        rows = [{"trained_on": name, **score_row(score)} for name, score in scores.items()]
        return Findings({"toy/accuracy": scores[DISTILLED].mean}, rows)
