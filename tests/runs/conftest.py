import pytest

from study.runs.context.callbacks import Callback


class InterruptAt(Callback):
    """Presses Ctrl-C in the first iteration of one trial."""

    def __init__(self, number):
        self.number, self.now = number, None

    def on_trial_start(self, number, params, num_iterations):
        self.now = number

    def on_iteration(self, iteration, losses):
        if self.now == self.number and iteration == 1:
            raise KeyboardInterrupt


@pytest.fixture(scope="session")
def interrupt_at():
    """``interrupt_at(2)`` is a callback that interrupts a search in its third trial."""
    return InterruptAt
