"""Two short trainings that differ in one setting, compared in MLflow's page in a real browser.

    python scripts/compare_runs.py runs/tiny --out docs/mlflow-compare.jpg

RUN is a finished run of --preset tiny. Needs `chromium` (Debian) or another of its kind on the
path. Keeps nothing but the picture, unless --keep names a folder for runs and MLflow's file.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

RATES = ("0.001", "0.004")  # learning rates: the setting that differs
SAMPLES = 960  # tri-planes a training sees: enough for a curve of 60 points
SIZE = (1500, 2100)  # px of the page
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def train(run: Path, folder: Path, uri: str) -> None:
    """Trains the base twice on the run's tri-planes."""
    from pipelines import train as stage
    from pipelines.context import one_ray

    with one_ray():
        for rate in RATES:
            out = folder / f"rate-{rate}"
            if not (out / "triplanes").exists():
                shutil.copytree(run / "triplanes", out / "triplanes")
            words = ["--stage", "base", "--preset", "tiny", "--out", str(out), "--tracking", uri]
            words += [f"base.train.learning_rate={rate}", f"base.train.total_samples={SAMPLES}"]
            stage.main([*words, "resources.system_metrics=2", "resources.cpus_per_train_worker=1"])


def page(uri: str, port: int) -> str:
    """The address of MLflow's comparison of the experiment's two latest runs."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("rodin-train-base").experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time DESC"], max_results=2)
    ids = quote(json.dumps(sorted(run.info.run_id for run in runs)))
    return (
        f"http://127.0.0.1:{port}/#/compare-runs?runs={ids}&experiments={quote(f'[{experiment!r}]')}"
    ).replace("%27", "%22")


def shoot(address: str, browser: str, picture: Path) -> None:
    """The page as a PNG, once its scripts have had time to draw it."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={profile}", f"--window-size={SIZE[0]},{SIZE[1]}",
                "--virtual-time-budget=60000", f"--screenshot={picture}", address,
            ],
            check=True, timeout=300, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def serve(uri: str, port: int) -> subprocess.Popen[bytes]:
    mlflow = str(Path(sys.executable).with_name("mlflow"))
    command = [mlflow, "server", "--backend-store-uri", uri, "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + 300
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("error: mlflow server did not start") from None
            time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run of --preset tiny")
    parser.add_argument("--out", type=Path, required=True, help="the picture, .jpg or .png")
    parser.add_argument("--keep", type=Path, help="folder for the runs; trained ones are reused")
    args = parser.parse_args()
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), "")
    if not browser:
        raise SystemExit(f"error: none of {', '.join(BROWSERS)} is installed; install one")
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="rodin-compare-") as scratch, socket.socket() as probe:
        folder = (args.keep or Path(scratch)).absolute()
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        train(args.run, folder, uri)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        server = serve(uri, port)
        try:
            shot = Path(scratch) / "page.png"
            shoot(page(uri, port), browser, shot)
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)
        Image.open(io.BytesIO(shot.read_bytes())).convert("RGB").save(args.out, quality=82)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
