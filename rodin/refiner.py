"""The refiner: volume renders of tri-planes to larger, sharper images (Rodin, section 4.4).

It is trained on pairs of a render of fitted planes and the real view, patch by patch. What it adds
it adds to each image alone, so views agree less than renders do: `rodin.consistency` says how much.

Legend: B batch, C plane channels, R plane size, P patch pixels, f the factor of the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from rodin import cameras
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.patches import PatchSettings, draw_patches, render_patches
from rodin.diffusion.statistics import required
from rodin.nn.refiner import PatchDiscriminator, RefinerNet, RefinerNetSettings
from rodin.perceptual import PerceptualDistance
from rodin.perceptual import load as load_perceptual
from rodin.render import RenderOutput, render


@dataclass(frozen=True)
class RefinerSettings:
    """The refiner and its losses."""

    net: RefinerNetSettings = field(default_factory=RefinerNetSettings)  # network
    patch: PatchSettings = field(default_factory=lambda: PatchSettings(size=128))  # trained on
    pixel_weight: float = 1.0  # of |x - x_hat|, colour and alpha
    perceptual_weight: float = 0.1  # of the perceptual distance of the patches; 0 = none
    adversarial_weight: float = 0.0  # of the discriminator's opinion; 0 = no discriminator
    r1_weight: float = 1.0  # of |gradient of the discriminator|^2 at real patches

    def __post_init__(self) -> None:
        if self.patch.size % self.net.factor:
            raise ValueError(
                f"refiner.patch.size is {self.patch.size}; it must be a multiple of net.factor = "
                f"{self.net.factor}"
            )
        for name in ("pixel_weight", "perceptual_weight", "adversarial_weight", "r1_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"refiner.{name} is {getattr(self, name)}; it must be >= 0")


class RefinerSystem(nn.Module):
    """Network, and with an adversarial loss its discriminator: the loss, and refined images.

    The decoder and the perceptual network are frozen and not part of the state.
    """

    def __init__(
        self,
        settings: RefinerSettings,
        decoder: TriplaneDecoder | None = None,
        perceptual: PerceptualDistance | None = None,
    ) -> None:
        """`decoder` renders the patches of the loss; `perceptual` None = EfficientNet-lite0."""
        super().__init__()
        self.settings = settings
        self.net = RefinerNet(settings.net)
        self.discriminator = PatchDiscriminator() if settings.adversarial_weight else None
        # In a tuple, so that they are no submodules: not saved, averaged or trained.
        self._frozen = (
            None if decoder is None else decoder.eval().requires_grad_(False),
            perceptual,
        )

    def forward(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The loss: what a wrapper such as DistributedDataParallel calls."""
        return self.loss(batch, generator)

    def loss(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars: "loss" (to minimise) and its unweighted parts.

        "pixel" = |x - x_hat| of colour and alpha, "perceptual" the patches' distance; with a
        discriminator "adversarial" (the refiner's hinge loss), "real_or_refined" (the
        discriminator's) and "r1". batch: "planes" (B, 3, C, R, R) raw, "views" (B, K, 4, H, W),
        "camera_to_world" (B, K, 4, 4), "intrinsics" (B, K, 3, 3).
        """
        s = self.settings
        decoder, perceptual = self._frozen
        if decoder is None:
            raise ValueError("the refiner has no decoder to render with; pass one to RefinerSystem")
        (planes,) = required(batch, "planes")
        planes = planes.float()
        count = min(planes.shape[0], s.patch.subjects or planes.shape[0])
        target = draw_patches(batch, count, s.patch, generator, stride=s.net.factor)
        with torch.no_grad(), torch.autocast(planes.device.type, enabled=False):
            rendered = render_patches(
                planes[:count],
                planes[:count],
                decoder.to(planes.device),
                target,
                s.patch.samples,
                s.patch.occupancy,
                generator,
            )
        centred = target.origins[:, :1].norm(dim=-1)[..., None]
        depth = rendered.alpha * (centred - rendered.depth)
        rgb, alpha = self.net(rendered.rgb, rendered.alpha, depth)
        parts = {"pixel": (rgb - target.rgb).abs().mean() + (alpha - target.alpha).abs().mean()}
        loss = s.pixel_weight * parts["pixel"]
        if s.perceptual_weight:
            if perceptual is None:
                perceptual = load_perceptual()
                self._frozen = (decoder, perceptual)
            with torch.autocast(planes.device.type, enabled=False):
                distance = perceptual.to(rgb.device)(rgb, target.rgb)
            parts["perceptual"] = distance.mean()
            loss = loss + s.perceptual_weight * parts["perceptual"]
        if self.discriminator is not None:
            parts |= self._opposed(self.discriminator, rgb, target.rgb)
            loss = loss + s.adversarial_weight * parts["adversarial"]
            loss = loss + parts["real_or_refined"] + s.r1_weight * parts["r1"]
        return {"loss": loss, **parts}

    def _opposed(self, judge: PatchDiscriminator, refined: Tensor, real: Tensor) -> dict:
        """Hinge losses of both sides (arXiv 1705.02894) and R1 (arXiv 1801.04406, eq. 9).

        One backward pass serves both: each side's loss sees the other one's weights as constants.
        """
        fixed = {name: value.detach() for name, value in judge.named_parameters()}
        adversarial = -functional_call(judge, fixed, (refined,)).mean()
        real = real.detach().requires_grad_()
        said = judge(real)
        hinge = functional.relu(1 - said).mean()
        hinge = hinge + functional.relu(1 + judge(refined.detach())).mean()
        (slope,) = torch.autograd.grad(said.sum(), real, create_graph=True)
        r1 = 0.5 * slope.square().sum((1, 2, 3)).mean()
        return {"adversarial": adversarial, "real_or_refined": hinge, "r1": r1}


@torch.no_grad()
def render_refined(
    planes: Tensor,
    decoder: TriplaneDecoder,
    refiner: RefinerSystem,
    camera_to_world: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    *,
    samples: int = 96,
    occupancy: Tensor | None = None,
    chunk: int = 4096,
) -> tuple[Tensor, Tensor]:
    """Refined image of planes (3, C, R, R) by one camera: rgb (H, W, 3) over white, alpha (H, W).

    The volume is rendered at H / f x W / f; `intrinsics` (3, 3) are those of the whole image.
    ValueError when f does not divide the size.
    """
    factor = refiner.settings.net.factor
    if height % factor or width % factor:
        raise ValueError(
            f"refined images are {height} x {width}; make both multiples of the factor {factor}"
        )
    h, w = height // factor, width // factor
    small = intrinsics.to(planes).clone()
    small[:2] /= factor
    origins, directions = cameras.rays(camera_to_world.to(planes), small, h, w)
    origins, directions = origins.reshape(1, -1, 3), directions.reshape(1, -1, 3)
    grid = None if occupancy is None else occupancy[None]
    parts = [
        render(planes[None], decoder, o, d, samples=samples, occupancy=grid)
        for o, d in zip(origins.split(chunk, 1), directions.split(chunk, 1), strict=True)
    ]
    whole = RenderOutput(
        *(
            torch.cat([getattr(part, name) for part in parts], 1)
            for name in ("rgb", "alpha", "depth")
        )
    )
    alpha = whole.alpha.view(1, h, w)
    depth = alpha * (origins[0, 0].norm() - whole.depth.view(1, h, w))
    rgb = whole.rgb.view(1, h, w, 3).permute(0, 3, 1, 2)
    rgb, alpha = refiner.eval().net(rgb, alpha, depth)
    return rgb[0].permute(1, 2, 0).clamp(0, 1), alpha[0].clamp(0, 1)
