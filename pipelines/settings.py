"""All knobs of a run, one a line, and the stable digest of their values."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from infra.canon import settings_hash
from rodin.diffusion.base import BaseSettings
from rodin.diffusion.upsampler import UpsamplerSettings
from rodin.fit import FitSettings
from rodin.generate import GenerateSettings
from rodin.prior import PriorSettings
from rodin.refiner import RefinerSettings
from rodin.text import MINILM
from rodin.training import TrainSettings

# The rigs of `blender.light_rigs`, which this package must not import; a test compares them.
Light = Literal["even", "soft", "studio", "window", "rim", "sunny", "evening", "varied"]


def positive(owner: object, *names: str) -> None:
    """Raises ValueError for a setting that is not above zero."""
    for name in names:
        value = getattr(owner, name)
        if not value > 0:
            raise ValueError(f"{name}={value}: must be above 0")


def check_intervals(stage: TrainStage) -> None:
    """A resumed curve equals an undisturbed one only where points end at checkpoints too."""
    positive(stage, "log_every", "checkpoint_every", "val_samples")
    for name in ("sheet_every", "snapshot_every"):
        if getattr(stage, name) < 0:
            raise ValueError(f"{name}={getattr(stage, name)}: use 0 (never) or more samples")
    if stage.snapshot_every and not stage.train.ema_widths:
        raise ValueError(
            f"snapshot_every={stage.snapshot_every}: train.ema_widths names no average to store; "
            "give two of them, 0.05 and 0.1"
        )
    for name in ("checkpoint_every", "val_every"):
        if getattr(stage, name) < 0 or getattr(stage, name) % stage.log_every:
            raise ValueError(
                f"{name}={getattr(stage, name)}: must be a multiple of log_every={stage.log_every}"
            )


@dataclass(frozen=True)
class RenderStage:
    """Seeds to posed views."""

    avatars: int = 16  # people to make
    first_seed: int = 0  # seed of the first one; the others follow
    views: int = 32  # views a person; the first is the frontal portrait, enough for the prior alone
    size: int = 128  # px, side of a view
    samples: int = 8  # Cycles samples a pixel
    denoise: bool = True  # OpenImageDenoise; worth two to four times the samples
    light: Light = "even"  # the rig; 'varied' is another one for every person
    focal_jitter: float = 0.0  # each view's focal length differs by up to this share
    centre_jitter: float = 0.0  # and its principal point by up to this share of the width
    depth: bool = True  # write depth maps beside the views
    normals: bool = False  # and normals in the avatar frame
    labels: bool = False  # and the class of each pixel: skin, hair, glasses, ...
    landmarks: bool = False  # and 68 facial landmarks with their visibility
    shard_size: int = 2  # people a shard: what a killed worker loses at most
    val_fraction: float = 0.1  # share of people held out from training, chosen by key hash
    max_failures: float = 0.05  # share of people that may fail to build before the stage fails

    def __post_init__(self) -> None:
        positive(self, "avatars", "views", "size", "samples", "shard_size")
        if not 0.0 <= self.val_fraction < 1.0:
            raise ValueError(f"val_fraction={self.val_fraction}: must be in [0, 1)")
        if not (0.0 <= self.focal_jitter <= 0.5 and 0.0 <= self.centre_jitter <= 0.25):
            raise ValueError(
                f"focal_jitter={self.focal_jitter}, centre_jitter={self.centre_jitter}: "
                "use 0 to 0.5 and 0 to 0.25"
            )
        if self.first_seed < 0:
            raise ValueError(f"first_seed={self.first_seed}: seeds start at 0")


@dataclass(frozen=True)
class FitStage:
    """Views to tri-planes."""

    subjects: int = 16  # people whose planes the shared decoder is trained with (paper: 500-1,000)
    seed: int = 0  # of the decoder's and the planes' initial values and of the rays
    views_kept: int = 6  # views stored with each tri-plane, for image-level losses
    shard_size: int = 4  # tri-planes a shard
    max_failures: float = 0.05  # share of people that may fail to fit before the stage fails
    batch: int = 1  # people that a worker fits at once; on a GPU, as many as fill it
    prefetch: int = 2  # people whose views are decoded ahead, in processes of their own; 0: none
    features: bool = True  # measure the perceptual distance too, by a small network that is offline
    vgg_weights: str = ""  # torchvision's vgg16 file: measure LPIPS in its place
    outlier_psnr: float = 15.0  # dB; a person under it is fitted a second time, for longer
    outlier_deviations: float = 4.0  # so is one so many robust standard deviations under the median
    refit_factor: float = 3.0  # how much longer
    engine: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        positive(self, "subjects", "views_kept", "shard_size", "batch", "outlier_deviations")
        positive(self, "refit_factor")
        if self.prefetch < 0:
            raise ValueError(f"prefetch={self.prefetch}: use 0 or more")


@dataclass(frozen=True)
class BaseStage:
    """Tri-planes and portraits to the base diffusion and its portrait encoder."""

    seed: int = 0  # of weights, data order, noise
    mirror: bool = False  # train with everyone's mirror image too: twice the people
    log_every: int = 400  # samples between two points of a curve
    checkpoint_every: int = 4_000  # samples between two checkpoints: what a kill loses at most
    val_every: int = 4_000  # samples between two losses of held-out people; 0 = never
    val_samples: int = 8  # held-out people that they are measured on, at most
    sheet_every: int = 4_000  # samples between two sample sheets; 0 = never
    snapshot_every: int = 0  # samples between two stored averages of train.ema_widths; 0 = never
    model: BaseSettings = field(default_factory=BaseSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        check_intervals(self)


@dataclass(frozen=True)
class UpsamplerStage:
    """Tri-planes to the diffusion that raises their resolution."""

    seed: int = 0  # of weights, data order, noise
    mirror: bool = False  # train with everyone's mirror image too: twice the people
    log_every: int = 100  # samples between two points of a curve
    checkpoint_every: int = 1_000  # samples between two checkpoints
    val_every: int = 1_000  # samples between two losses of held-out people; 0 = never
    val_samples: int = 8  # held-out people that they are measured on, at most
    sheet_every: int = 1_000  # samples between two sample sheets; 0 = never
    snapshot_every: int = 0  # samples between two stored averages of train.ema_widths; 0 = never
    model: UpsamplerSettings = field(default_factory=UpsamplerSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        check_intervals(self)


@dataclass(frozen=True)
class RefinerStage:
    """Tri-planes and their views to the network that refines renders."""

    in_chain: bool = False  # trained by rodin run, and by rodin train where no --stage is named
    seed: int = 0  # of weights, data order, patches
    mirror: bool = False  # train with everyone's mirror image too: twice the people
    # learn from what base and upsampler make of people's portraits, not from their fits: blurred
    # and mistaken as avatars are
    generated: bool = False
    sampling: GenerateSettings = field(default_factory=GenerateSettings)  # how those are drawn
    # where the real views are read from: a data set of views, by its address or its place in OUT
    # ("views": all that the fits were made of); empty: the few that are kept with the tri-planes
    views: str = ""
    log_every: int = 100  # samples between two points of a curve
    checkpoint_every: int = 1_000  # samples between two checkpoints
    val_every: int = 1_000  # samples between two losses of held-out people; 0 = never
    val_samples: int = 8  # held-out people that they are measured on, at most
    sheet_every: int = 1_000  # samples between two sample sheets; 0 = never
    snapshot_every: int = 0  # samples between two stored averages of train.ema_widths; 0 = never
    model: RefinerSettings = field(default_factory=RefinerSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        check_intervals(self)


@dataclass(frozen=True)
class PriorStage:
    """Latents of the base's encoder and captions to the diffusion that draws latents from texts."""

    in_chain: bool = True  # trained by rodin run, and by rodin train where no --stage is named
    seed: int = 0  # of weights, data order, noise
    mirror: bool = False  # train with everyone's mirror image too: twice the people
    # a data set of views whose portraits and captions are learned as well, by its address or its
    # place in OUT
    views: str = ""
    text: str = MINILM  # reads the captions: minilm, clip:MODEL:FILE; empty: the prior takes none
    log_every: int = 3_200  # samples between two points of a curve
    checkpoint_every: int = 32_000  # samples between two checkpoints
    val_every: int = 32_000  # samples between two losses of held-out people; 0 = never
    val_samples: int = 64  # held-out people that they are measured on, at most
    sheet_every: ClassVar[int] = 0  # latents are no pictures
    snapshot_every: int = 0  # samples between two stored averages of train.ema_widths; 0 = never
    model: PriorSettings = field(default_factory=PriorSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        check_intervals(self)
        if bool(self.text) != bool(self.model.text_dim):
            raise ValueError(
                f"text={self.text!r} with model.text_dim={self.model.text_dim}: give both, or"
                " text '' and text_dim 0 for a prior without texts"
            )


TrainStage = BaseStage | UpsamplerStage | RefinerStage | PriorStage


@dataclass(frozen=True)
class SampleStage:
    """Models to new avatars."""

    models: str = ""  # models:/rodin@champion of MLflow's registry; empty: those of the run
    count: int = 8  # avatars to generate from seeds
    first_seed: int = 0  # seed of the first one; the others follow
    # gaussian: latents drawn from the Gaussian of the training portraits' latents; prior: by the
    # prior; none: zero
    latent: Literal["gaussian", "prior", "none"] = "gaussian"
    spread: float = 0.8  # standard deviations of that Gaussian; 0 is the mean person
    portraits: int = 4  # portraits to turn into avatars as well, held-out ones first
    views: int = 5  # views of each avatar on the sheet, from around its head
    size: int = 128  # px, side of a rendered view
    render_samples: int = 96  # samples along a ray
    frames: int = 24  # frames of the turntable
    shard_size: int = 4  # avatars a unit of work
    generate: GenerateSettings = field(default_factory=GenerateSettings)

    def __post_init__(self) -> None:
        positive(self, "count", "views", "size", "render_samples", "frames", "shard_size")
        if self.first_seed < 0:
            raise ValueError(f"first_seed={self.first_seed}: seeds start at 0")


@dataclass(frozen=True)
class Resources:
    """What the stages may use. Not part of any digest: it does not change results."""

    workers: int = 0  # render and fit processes; 0 for one a CPU core
    cpus_per_worker: float = 1.0  # logical CPUs that one of them holds
    gpus_per_fit: float = 0.0  # GPUs (or a share of one) that a fitting worker holds
    decoder_workers: int = 1  # ranks of the joint fit; they divide fit.engine.subjects_per_step
    train_workers: int = 1  # ranks of a training stage
    cpus_per_train_worker: int = 0  # logical CPUs a rank; 0 for all cores of a local machine
    train_on_gpu: bool = False  # one GPU a rank
    train_sharded: bool = False  # ranks hold a part each of weights and optimiser (FSDP), not all
    avatars_per_process: int = 100  # people a Blender process renders before it is replaced
    system_metrics: float = 30.0  # seconds between two readings of a machine's load; 0: none

    def __post_init__(self) -> None:
        if self.system_metrics < 0:
            raise ValueError(f"system_metrics={self.system_metrics}: use 0 (none) or more seconds")


@dataclass(frozen=True)
class RunSettings:
    """One run of the whole chain."""

    render: RenderStage = field(default_factory=RenderStage)
    fit: FitStage = field(default_factory=FitStage)
    base: BaseStage = field(default_factory=BaseStage)
    upsampler: UpsamplerStage = field(default_factory=UpsamplerStage)
    refiner: RefinerStage = field(default_factory=RefinerStage)
    prior: PriorStage = field(default_factory=PriorStage)
    sample: SampleStage = field(default_factory=SampleStage)
    resources: Resources = field(default_factory=Resources)


def as_dict(settings: Any) -> dict[str, Any]:
    """Plain JSON-able values of a settings dataclass (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def digest(settings: Any) -> str:
    """16 hex digits that name these settings, stable over runs."""
    return settings_hash(as_dict(settings))[:16]
