"""The two halves of a student step as programs: plain, or traced once and compiled for one size of chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from study.core.device import Compute
from study.core.programs import ProgramCache, go_on_plain
from study.methods.trajectories.student import step_adjoint, step_gradient
from study.models.network import Network
from study.models.work import work_of, worth_compiling

Adjoint = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""What :func:`study.methods.trajectories.student.step_adjoint` returns."""

_compiled: ProgramCache[Callable[..., Any]] = ProgramCache(16, shared=True)


class CompiledStep:
    """How a student step is computed; :func:`study.methods.trajectories.adjoint.student_gradients` takes one.

    Compiled programs are looked up by what they compute, so that trials of a search share them in a process.

    Attributes:
        network: the student's architecture.
        size: images of the chunks that are compiled; None as long as everything runs plain.
    """

    def __init__(self, network: Network) -> None:
        """Start out plain."""
        self.network = network
        self.size: int | None = None
        self._demanded = False
        self._own: dict[str, Callable[..., Any]] = {}

    def compile_for(self, compute: Compute, num_steps: int, size: int) -> bool:
        """Compile where that many student steps, over all iterations, earn it back; says whether they do.

        Only chunks (or whole steps) of ``size`` images are compiled; a remainder runs plain, and everything
        where the compiler fails, unless compilation was demanded. Steps are float32, whatever the precision.
        """
        work = work_of(self.network)
        # Buffers would be frozen into the traced program.
        if work.mixes_images or not worth_compiling("student", compute, work.student(size, num_steps)):
            return False
        self.size, self._demanded = size, compute.compile == "on"
        return True

    def gradient(self, flat: Tensor, pixels: Tensor, targets: Tensor) -> Tensor:
        """As :func:`study.methods.trajectories.student.step_gradient`."""
        gradient: Tensor = self._run(
            "gradient", partial(step_gradient, self.network), [flat, pixels, targets]
        )
        return gradient

    def adjoint(
        self,
        flat: Tensor,
        adjoint: Tensor,
        pixels: Tensor,
        targets: Tensor,
        to_targets: bool,
        to_parameters: bool,
    ) -> Adjoint:
        """As :func:`study.methods.trajectories.student.step_adjoint`."""
        name = f"adjoint {to_targets} {to_parameters}"
        program = partial(step_adjoint, self.network, to_targets=to_targets, to_parameters=to_parameters)
        done: Adjoint = self._run(name, program, [flat, adjoint, pixels, targets])
        return done

    def _run(self, name: str, program: Callable[..., Any], inputs: Sequence[Tensor]) -> Any:
        if len(inputs[-1]) != self.size:
            return program(*inputs)
        with torch.no_grad():
            # Compiled convolutions and norms are quicker with channels last; torch's own norm is slower.
            given = [
                value.detach().contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
                for value in inputs
            ]
            if name in self._own:
                return self._own[name](*given)
            try:
                compiled = _find_compiled(program, given)
                done = compiled(*given)
            except RuntimeError as error:
                go_on_plain(error, demanded=self._demanded)
                self.size = None
                return program(*inputs)
            self._own[name] = compiled
            return done


def _find_compiled(program: Callable[..., Any], inputs: Sequence[Tensor]) -> Callable[..., Any]:
    """Trace a program and compile it, unless one that does the same is there already."""
    with _compiled.lock:
        with torch.enable_grad():
            traced = make_fx(program, tracing_mode="fake")(*inputs)
        kinds = tuple((value.shape, value.stride(), value.dtype, value.device) for value in inputs)
        return _compiled.get((traced.code, kinds), lambda: torch.compile(traced, dynamic=False))
