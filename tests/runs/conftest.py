import pytest

from study.runs.events import Listener


class InterruptAt(Listener):
    """Presses Ctrl-C in the first iteration of one trial."""

    def __init__(self, slot):
        self.slot, self.now = slot, None

    def on_trial_start(self, slot, params, num_iterations):
        self.now = slot

    def on_iteration(self, iteration, losses):
        if self.now == self.slot and iteration == 1:
            raise KeyboardInterrupt


@pytest.fixture(scope="session")
def interrupt_at():
    """``interrupt_at(2)`` is a listener that interrupts a search in its third trial."""
    return InterruptAt
