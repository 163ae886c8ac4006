"""A load test of `rodin serve`: errors, seconds a request, and memory before and after.

    python tests/benchmarks/bench_serve.py [MODEL] --requests 200 --clients 16

Without a model an untrained, small one is served: Ray's share of the time. Starts the service on
this machine and prints two Markdown tables. A 503 is no error: the client does as it is told and
asks again. Memory is the resident set of the service's processes, first read after one request of
every client: growth is what requests leave behind.
"""

from __future__ import annotations

import argparse
import collections
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import requests
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from rodin.bundle import Bundle
from rodin.decoder import DecoderConfig, TriplaneDecoder
from tests.rodin.systems import BASE, CHANNELS, base_system, upsampler_system


def untrained(folder: str) -> str:
    """Writes a bundle of small models as before training."""
    decoder = TriplaneDecoder(DecoderConfig(channels=CHANNELS))
    latents = torch.zeros(2, BASE.encoder.latent_dim)
    return str(Bundle(decoder, base_system(), latents, upsampler_system()).save(folder))


def start(words: list[str], seconds: float = 300.0) -> tuple[subprocess.Popen[str], str]:
    """`rodin serve` on a free port, once it answers; its process and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = subprocess.Popen(
        [sys.executable, "-m", "pipelines.serve", *words, "--port", str(port)], text=True
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(int(seconds)):
        time.sleep(1)
        if service.poll() is not None:
            raise SystemExit(f"the service ended with {service.returncode}")
        try:
            if requests.get(f"{address}/healthz", timeout=10).status_code == 200:
                return service, address
        except requests.RequestException:
            pass
    raise SystemExit(f"no answer from {address} in {seconds:.0f} s")


def memory(service: subprocess.Popen[str]) -> dict[str, float]:
    """MB of the service's parts: copies of the model, the door, and the rest (Ray itself)."""
    found: dict[str, float] = collections.Counter()
    for process in psutil.Process(service.pid).children(recursive=True):
        try:
            name = " ".join(process.cmdline())
            part = next((p for p in ("Maker", "Door", "ProxyActor") if p in name), "Ray")
            found[part] += process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
    return found


def ask(address: str, query: str) -> tuple[float, int, int]:
    """Seconds until an answer that is no 503, its status, and how often it was 503 before."""
    began, away = time.perf_counter(), 0
    while True:
        status = requests.post(f"{address}/avatars?{query}", timeout=600).status_code
        if status != 503:
            return time.perf_counter() - began, status, away
        away += 1
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--query", default="steps=10&size=128", help="of every request, but seeds")
    parser.add_argument("--cpus", default="1")
    parser.add_argument("--queue", default="32")
    args = parser.parse_args()
    scratch = tempfile.TemporaryDirectory(prefix="rodin-bench-")
    model = args.model or untrained(scratch.name)
    service, address = start([model, "--cpus", args.cpus, "--queue", args.queue])
    queries = [f"seed={seed}&{args.query}" for seed in range(args.requests)]
    try:
        with ThreadPoolExecutor(args.clients) as pool:
            list(pool.map(lambda query: ask(address, query), queries[: args.clients]))
            before, began = memory(service), time.perf_counter()
            found = list(pool.map(lambda query: ask(address, query), queries))
            wall, after = time.perf_counter() - began, memory(service)
    finally:
        service.send_signal(signal.SIGINT)
        service.wait(120)
        scratch.cleanup()
    seconds = np.array([taken for taken, _, _ in found])
    errors = sum(status != 200 for _, status, _ in found)
    print(f"\n{args.requests} requests of `{args.query}`, {args.clients} clients, {os.cpu_count()}"
          " cores:\n")  # fmt: skip
    print("| errors | sent away (503) | p50 s | p95 s | longest s | requests a second |")
    print("|---|---|---|---|---|---|")
    print(f"| {errors} | {sum(away for _, _, away in found)} | {np.quantile(seconds, 0.5):.2f} |"
          f" {np.quantile(seconds, 0.95):.2f} | {seconds.max():.2f} |"
          f" {args.requests / wall:.2f} |")  # fmt: skip
    print("\n| memory, MB | before | after |\n|---|---|---|")
    for part in sorted(set(before) | set(after)):
        print(f"| {part} | {before.get(part, 0):.0f} | {after.get(part, 0):.0f} |")


if __name__ == "__main__":
    main()
