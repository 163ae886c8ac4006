"""Cost of the 3D-aware convolution beside a plain one and beside the concatenated form.

Run as a script: python tests/benchmarks/bench_aware_conv.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rodin.nn.aware_conv import TriplaneConv2d


def concatenated(planes: Tensor, layer: TriplaneConv2d) -> Tensor:
    """The definition, as one convolution over 3C channels."""
    uv, wu, vw = planes.unbind(1)

    def columns(line: Tensor) -> Tensor:
        return line[..., None, :].expand_as(uv)

    def rows(line: Tensor) -> Tensor:
        return line[..., None].expand_as(uv)

    stacked = torch.stack(
        [
            torch.cat([uv, columns(wu.mean(-2)), rows(vw.mean(-1))], 1),
            torch.cat([wu, columns(uv.mean(-2)), rows(vw.mean(-2))], 1),
            torch.cat([vw, rows(uv.mean(-1)), columns(wu.mean(-1))], 1),
        ],
        1,
    ).flatten(0, 1)
    pad = layer.kernel_size // 2
    out = nn.functional.conv2d(stacked, layer.weight, layer.bias, padding=pad)
    return out.unflatten(0, (-1, 3))


def seconds(step: Callable[[], object], repeats: int) -> float:
    """Best of `repeats` after one warm-up call."""
    step()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
    return best


def bench_aware_conv(
    channels: int, size: int, batch: int = 1, repeats: int = 7
) -> dict[str, float]:
    """Seconds of (forward, forward + backward) and their ratios, float32 on the CPU."""
    planes = torch.randn(batch, 3, channels, size, size, requires_grad=True)
    aware = TriplaneConv2d(channels, channels, 3)
    plain = nn.Conv2d(channels, channels, 3, padding=1)
    forms: dict[str, Callable[[], Tensor]] = {
        "aware": lambda: aware(planes),
        "plain": lambda: plain(planes.flatten(0, 1)),
        "concatenated": lambda: concatenated(planes, aware),
    }
    times: dict[str, float] = {}
    for name, form in forms.items():
        with torch.no_grad():
            times[f"{name}_forward"] = seconds(form, repeats)
        times[f"{name}_training"] = seconds(lambda form=form: form().sum().backward(), repeats)
    for kind in ("forward", "training"):
        aware_s = times[f"aware_{kind}"]
        times[f"over_plain_{kind}"] = aware_s / times[f"plain_{kind}"]
        times[f"over_concatenated_{kind}"] = times[f"concatenated_{kind}"] / aware_s
    return times


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("channels size | aware ms | x plain (forward, training) | faster than concatenated")
    for channels, size in ((32, 32), (64, 32), (128, 64), (192, 64)):
        t = bench_aware_conv(channels, size)
        print(
            f"{channels:8d} {size:4d} | {t['aware_forward'] * 1e3:8.2f} | "
            f"{t['over_plain_forward']:.2f} {t['over_plain_training']:.2f} | "
            f"{t['over_concatenated_forward']:.2f} {t['over_concatenated_training']:.2f}"
        )


if __name__ == "__main__":
    main()
