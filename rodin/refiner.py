"""The refiner: volume renders of tri-planes to larger, sharper images (Rodin, section 4.4).

It is trained on pairs of a render of fitted planes and the real view, patch by patch. What it adds
it adds to each image alone, so views agree less than renders do: `rodin.consistency` says how much.

Legend: B batch, C plane channels, R plane size, P patch pixels, f the factor of the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from rodin import cameras
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.patches import PatchSettings, draw_patches, render_patches
from rodin.diffusion.statistics import required
from rodin.nn.refiner import FeatureDiscriminator, RefinerNet, RefinerNetSettings
from rodin.perceptual import SMALLEST_IMAGE, PerceptualDistance, feature_distance
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
    # px, side of the views it learns from: what it knows are pictures of that size, so others are
    # refined there and resized; 0 = views of any size, pictures at their own
    view_size: int = 0

    def __post_init__(self) -> None:
        if self.view_size < 0 or self.view_size % self.net.factor:
            raise ValueError(
                f"refiner.view_size is {self.view_size}; it must be 0 or a multiple of net.factor ="
                f" {self.net.factor}"
            )
        if self.patch.size % self.net.factor:
            raise ValueError(
                f"refiner.patch.size is {self.patch.size}; it must be a multiple of net.factor = "
                f"{self.net.factor}"
            )
        for name in ("pixel_weight", "perceptual_weight", "adversarial_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"refiner.{name} is {getattr(self, name)}; it must be >= 0")


class RefinerSystem(nn.Module):
    """Network, and with an adversarial loss its discriminator: the loss, and refined images.

    The decoder and the perceptual network are frozen and not part of the state. The latter's
    features are what the discriminator looks at too.
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
        self.discriminator: FeatureDiscriminator | None = None
        if settings.adversarial_weight:
            perceptual = perceptual or load_perceptual()
            with torch.no_grad():
                known = perceptual.features(torch.zeros(1, 3, SMALLEST_IMAGE, SMALLEST_IMAGE))
            self.discriminator = FeatureDiscriminator([each.shape[1] for each in known])
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
        discriminator "adversarial" (the refiner's hinge loss) and "real_or_refined" (the
        discriminator's). batch: "planes" (B, 3, C, R, R) raw, "views" (B, K, 4, H, W),
        "camera_to_world" (B, K, 4, 4), "intrinsics" (B, K, 3, 3). ValueError for views of another
        size than `view_size`.
        """
        s = self.settings
        decoder, perceptual = self._frozen
        if decoder is None:
            raise ValueError("the refiner has no decoder to render with; pass one to RefinerSystem")
        (planes,) = required(batch, "planes")
        planes = planes.float()
        side = batch["views"].shape[-1] if "views" in batch else s.view_size
        if s.view_size and side != s.view_size:
            raise ValueError(
                f"refiner.view_size is {s.view_size}, the views are {side} px; set it to that, or"
                " give views of its size"
            )
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
        if not s.perceptual_weight and self.discriminator is None:
            return {"loss": loss, **parts}
        if perceptual is None:
            perceptual = load_perceptual()
            self._frozen = (decoder, perceptual)
        with torch.autocast(planes.device.type, enabled=False):
            perceptual = perceptual.to(rgb.device)
            seen = perceptual.features(rgb)
            with torch.no_grad():
                real = perceptual.features(target.rgb)
            if s.perceptual_weight:
                parts["perceptual"] = feature_distance(seen, real).mean()
                loss = loss + s.perceptual_weight * parts["perceptual"]
            if self.discriminator is not None:
                parts |= self._opposed(self.discriminator, seen, real)
                loss = loss + s.adversarial_weight * parts["adversarial"] + parts["real_or_refined"]
        return {"loss": loss, **parts}

    def _opposed(
        self, judge: FeatureDiscriminator, refined: list[Tensor], real: list[Tensor]
    ) -> dict[str, Tensor]:
        """Hinge losses of both sides (arXiv 1705.02894), means over the depths.

        One backward pass serves both: each side's loss sees the other one's weights as constants.
        """
        fixed = {name: value.detach() for name, value in judge.named_parameters()}
        said = functional_call(judge, fixed, (refined,))
        adversarial = torch.stack([-score.mean() for score in said]).mean()
        pairs = zip(judge(real), judge([each.detach() for each in refined]), strict=True)
        hinge = [functional.relu(1 - a).mean() + functional.relu(1 + b).mean() for a, b in pairs]
        return {"adversarial": adversarial, "real_or_refined": torch.stack(hinge).mean()}

    def to_use(self) -> RefinerSystem:
        """The same refiner without its discriminator."""
        alone = RefinerSystem(replace(self.settings, adversarial_weight=0.0), self._frozen[0])
        alone.net.load_state_dict(self.net.state_dict())
        return alone.eval()


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

    `intrinsics` (3, 3) are those of the image. The volume is rendered at 1 / f of its size, or of
    `view_size` where the refiner has one; what it makes of that is resized where it must be.
    """
    factor = refiner.settings.net.factor
    h = max(1, round((refiner.settings.view_size or height) / factor))
    w = max(1, round(h * width / height))
    small = intrinsics.to(planes).clone()
    small[0] *= w / width
    small[1] *= h / height
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
    if rgb.shape[-2:] != (height, width):
        rgb, alpha = functional.interpolate(
            torch.cat([rgb, alpha[:, None]], 1), (height, width), mode="bicubic", antialias=True
        ).split((3, 1), dim=1)
        alpha = alpha[:, 0]
    return rgb[0].permute(1, 2, 0).clamp(0, 1), alpha[0].clamp(0, 1)
