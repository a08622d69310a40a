"""Settings of trajectory matching, and what its methods search of them."""

from __future__ import annotations

from pydantic import Field, model_validator

from study.core.spaces import Range, Space
from study.methods.base import MethodConfig
from study.methods.experts.config import ExpertConfig
from study.methods.trajectories.adjoint import Backward

IMAGE_LR_RANGE = Range(low=1.0, high=1000.0, log=True)
STUDENT_SPACE: Space = {
    "distill.step_size_factor": Range(low=0.3, high=1.5, log=True),
    "distill.step_size_lr": Range(low=1e-6, high=1e-4, log=True),
    "distill.num_student_steps": Range(kind="int", low=10, high=40, step=10),
    "distill.num_expert_epochs": Range(kind="int", low=1, high=3),
    "distill.max_start_epoch": Range(kind="int", low=2, high=14, step=4),
}
"""What the methods of this family search of the student and its experts."""


class TrajectoryConfig(MethodConfig):
    """Settings of trajectory matching; MTT's published values are the defaults."""

    num_iterations: int = Field(5000, ge=0)
    image_lr: float = Field(1000.0, gt=0)
    """Learning rate of the pixels."""
    momentum: float = Field(0.5, ge=0, lt=1)
    """Of the SGD of pixels and step size."""
    step_size: float | None = Field(None, gt=0)
    """Learning rate of the student at the start (Greek beta), which is learned with the images. By default it is the
    one with which students on the starting images come nearest to the experts."""
    step_size_factor: float = Field(1.0, gt=0)
    """What the step size is multiplied by before the first iteration."""
    step_size_lr: float = Field(1e-5, ge=0)
    """Learning rate of the student's learning rate; 0 keeps it."""
    num_student_steps: int = Field(20, ge=0)
    """Updates of the student on synthetic images (N)."""
    batch_synthetic: int | None = Field(None, ge=1)
    """Synthetic images of one student step; by default all of them."""
    num_expert_epochs: int = Field(3, ge=1)
    """Epochs of the expert that the student is to catch up with (M)."""
    max_start_epoch: int = Field(25, ge=1)
    """Snapshots 0 to this minus one may be the start (T+)."""
    experts: ExpertConfig = Field(default_factory=ExpertConfig)
    """How the experts are trained."""
    backward: Backward = "adjoint"
    """``adjoint`` is exact in the memory of one step; ``unroll`` and ``tesla`` are for comparison."""
    memory_gb: float = Field(4.0, gt=0)
    """What one student step may take; above it, steps are worked on in chunks of images, still exactly."""

    @model_validator(mode="after")
    def _experts_are_long_enough(self) -> TrajectoryConfig:
        last = self.max_start_epoch - 1 + self.num_expert_epochs
        if last > self.experts.num_epochs:
            raise ValueError(
                f"max_start_epoch = {self.max_start_epoch} and num_expert_epochs = {self.num_expert_epochs} reach to "
                f"epoch {last}, but experts.num_epochs = {self.experts.num_epochs}"
            )
        return self
