"""Power-function averages of weights, and others put together from stored ones after training.

Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2, arXiv
2312.02696), section 3.1 and appendix C. The average at time t weighs the weights of time s by
p(s) = (g + 1) s^g / t^(g + 1): its width grows with t. Times are samples seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor

WIDEST = 12**-0.5  # relative width of the plain mean, g = 0


def exponent(width: float) -> float:
    """g of the average whose standard deviation is `width` of the time trained.

    ValueError unless 0 < width < 0.288, where g is positive.
    """
    if not 0 < width < WIDEST:
        raise ValueError(f"the width of an average is {width}; use 0 < width < {WIDEST:.3f}")
    per_variance = width**-2
    roots = np.roots([1.0, 7.0, 16.0 - per_variance, 12.0 - per_variance])
    return float(roots.real.max())


def power_decay(width: float, samples: int, batch: int) -> float:
    """Share that the average keeps in a step of `batch` samples to `samples` in all ."""
    return (1 - batch / samples) ** (exponent(width) + 1)


def mix(stored: Sequence[tuple[int, float]], samples: int, width: float) -> np.ndarray:
    """Weights (N,) of N stored averages (samples, width): their sum stands in for another one.

    The least-squares fit of their profiles p to the profile of (samples, width): appendix C.2.
    ValueError without an average, or for one wanted after the last stored.
    """
    if not stored or samples > max(at for at, _ in stored):
        raise ValueError(
            f"no average is stored at {samples} samples or later; take one at or before "
            f"{max((at for at, _ in stored), default=0)}"
        )
    times = np.array([at for at, _ in stored], dtype=float)
    powers = np.array([exponent(each) for _, each in stored])
    inner = _overlap(times[:, None], powers[:, None], times[None], powers[None])
    wanted = _overlap(times, powers, np.array(float(samples)), np.array(exponent(width)))
    return np.linalg.lstsq(inner, wanted, rcond=None)[0]


def combine(weights: Iterable[float], stored: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The sum of weighted states, one at a time: floating-point tensors in float32.

    Other tensors (counts) are those of the last state.
    """
    total: dict[str, Tensor] = {}
    for weight, state in zip(weights, stored, strict=True):
        for name, value in state.items():
            if not value.is_floating_point():
                total[name] = value
            elif name in total:
                total[name].add_(value.float(), alpha=float(weight))
            else:
                total[name] = float(weight) * value.float()
    return total


def _overlap(t: np.ndarray, g: np.ndarray, u: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Integral of the product of two profiles: of time t and power g, of time u and power h."""
    late = np.maximum(t, u)
    # The profile that ends later is the one whose power the ratio of times is raised to.
    ratio = (np.minimum(t, u) / late) ** np.where(t < u, h, g)
    return (g + 1) * (h + 1) / (g + h + 1) * ratio / late
