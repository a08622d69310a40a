"""The file of tests that the author of a method, a dataset and a protocol writes."""

from collections.abc import Iterator

from toy_method import Toy as ToyMethod
from toy_protocol import Toy as ToyProtocol

from study.core.records import Progress
from study.core.seeding import Generators
from study.methods.base import Task
from study.testing import DatasetContract, MethodContract, ProtocolContract


class TestToyMethod(MethodContract):
    method = ToyMethod
    settings = ToyMethod.smoke


class TestToyDataset(DatasetContract):
    dataset = "toy"


class TestToyProtocol(ProtocolContract):
    protocol = ToyProtocol


class Lazy(ToyMethod):
    """Promises iterations and gives the images it started from."""

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        progresses = super().distill(task, generators)
        first = next(progresses)
        start = first.snapshot()
        yield first
        for progress in progresses:
            yield Progress(progress.iteration, progress.losses, lambda: start)


class TestLazyMethod(MethodContract):
    method = Lazy
    settings = ToyMethod.smoke
