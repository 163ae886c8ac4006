"""The model that `mlflow models serve` serves: seeds -> avatars -> pictures.

MLflow runs this file as it is ("models from code"): nothing is pickled. The weights lie beside it,
laid out as in a run. One request at a time is worked on, others wait.
"""

from __future__ import annotations

import base64
import dataclasses
import threading
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from pydantic import BaseModel, ConfigDict, Field

MAX_AVATARS = 8  # a request
MAX_VIEWS = 12  # an avatar
MAX_SIZE = 512  # px; rays grow with its square
MAX_STEPS = 250  # of a sampler; time grows with them
MAX_SEED = 2**31 - 1


class Avatar(BaseModel):
    """One avatar to draw. What is left out is as the run that was registered has it."""

    model_config = ConfigDict(extra="forbid")

    seed: int = Field(ge=0, le=MAX_SEED)
    size: int = Field(128, ge=16, le=MAX_SIZE)  # px, side of a picture
    views: int = Field(1, ge=1, le=MAX_VIEWS)  # pictures, from 60 degrees left to 60 right
    steps: int = Field(0, ge=0, le=MAX_STEPS)  # of the base's sampler; 0: as registered


class Generator(PythonModel):
    """`{"inputs": [{"seed": 3}]}` -> `[{"seed": 3, "images": ["<PNG in base64>"]}]`."""

    def load_context(self, context: Any) -> None:
        import torch

        from infra.storage import open_store
        from pipelines.context import sample_stage
        from pipelines.sample import SampleWorker

        run = context.artifacts["run"]
        self.stage = sample_stage(open_store(run))
        self.worker = SampleWorker(run, "", self.stage, torch.get_num_threads())
        self.lock = threading.Lock()

    def predict(self, model_input: list[Avatar]) -> list[dict[str, Any]]:  # type: ignore[override]
        from mlflow.exceptions import MlflowException

        if not 0 < len(model_input) <= MAX_AVATARS:
            raise MlflowException.invalid_parameter_value(
                f"{len(model_input)} avatars in one request; send 1 to {MAX_AVATARS}"
            )
        with self.lock:
            return [self.draw(avatar) for avatar in model_input]

    def draw(self, avatar: Avatar) -> dict[str, Any]:
        """The avatar of a seed: the same as `rodin sample` makes with the same settings."""
        from pipelines import pictures
        from rodin.generate import generate

        how = self.stage.generate
        if avatar.steps:
            how = dataclasses.replace(how, base=dataclasses.replace(how.base, steps=avatar.steps))
        worker = self.worker
        latent = worker.latent(f"seed-{avatar.seed:06d}")
        (planes,) = generate(
            worker.base, worker.upsampler, [avatar.seed], latents=latent[None], settings=how
        )
        worker.stage = dataclasses.replace(self.stage, size=avatar.size, views=avatar.views)
        found = worker.render(planes)
        images = [
            pictures.png(pictures.to_image(image)) for image in found["refined"] or found["views"]
        ]
        return {
            "seed": avatar.seed,
            "images": [base64.b64encode(image).decode() for image in images],
        }


set_model(Generator())
