"""Distances of sets of images, in the features of a pretrained network that every metric names.

Frechet distance (arXiv 1706.08500), kernel distance (arXiv 1801.01401, unbiased, cubic kernel),
precision and recall (arXiv 1904.06991), computed by torch-fidelity. Over Inception they are FID and
KID; over EfficientNet-lite0 their order means the same and their size does not: never compare the
numbers of two networks, image sizes or counts.

Legend: N images, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rodin.perceptual import PerceptualDistance

FEATURES = "efficientnet_lite0"  # the network, as metrics name it
EMBED_SIZE = 128  # px that images are resized to, so that sizes compare
NEIGHBOURS = 3  # that span an image's surroundings in precision and recall
KERNEL_SUBSETS = 50  # random subsets that the kernel distance is the mean over
KERNEL_SUBSET = 100  # images in one of them, at most


@torch.no_grad()
def embed(images: Tensor, network: PerceptualDistance, batch: int = 32) -> Tensor:
    """Features (N, D) of images (N, 3, H, W) in [0, 1]: the deepest of the network, pooled."""
    rows = []
    for part in images.split(batch):
        resized = functional.interpolate(
            part, (EMBED_SIZE, EMBED_SIZE), mode="bilinear", antialias=True, align_corners=False
        )
        rows.append(network.features(resized)[-1].mean((2, 3)).cpu())
    return torch.cat(rows)


def set_distances(generated: Tensor, real: Tensor, seed: int = 0) -> dict[str, float]:
    """ "fd", "kd", "precision" and "recall" of features (N, D) and (M, D), names with the network.

    precision: share of generated images among the real ones' neighbours; recall: the other way.
    `seed` draws the subsets of the kernel distance. ValueError under NEIGHBOURS + 1 images.
    """
    fewest = min(len(generated), len(real))
    if fewest <= NEIGHBOURS:
        raise ValueError(
            f"distances of {len(generated)} generated and {len(real)} real images; give at least "
            f"{NEIGHBOURS + 1} of each"
        )
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    both = [features.double() for features in (generated, real)]
    frechet = fid_statistics_to_metric(*map(fid_features_to_statistics, both), verbose=False)
    kernel = kid_features_to_metric(
        *both,
        kid_subsets=KERNEL_SUBSETS,
        kid_subset_size=min(KERNEL_SUBSET, fewest),
        rng_seed=seed,
        verbose=False,
    )
    share = prc_features_to_metric(
        *both, prc_neighborhood=NEIGHBOURS, prc_batch_size=4096, save_cpu_ram=False, verbose=False
    )
    found = {
        "fd": frechet["frechet_inception_distance"],
        "kd": kernel["kernel_inception_distance_mean"],
        "precision": share["precision"],
        "recall": share["recall"],
    }
    return {f"{name}_{FEATURES}": float(value) for name, value in found.items()}


def spread(features: Tensor) -> float:
    """Mean distance of two different rows of features (N, D)."""
    count = len(features)
    if count < 2:
        raise ValueError(f"the spread of {count} images; give at least 2")
    return float(torch.cdist(features, features).sum() / (count * (count - 1)))


def nearest(features: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,) and index (N,) of the nearest of `others` (M, D) for each of (N, D)."""
    found = torch.cdist(features, others).min(1)
    return found.values, found.indices
