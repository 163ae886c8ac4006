"""Two short trainings that differ in one setting, compared in MLflow's page in a real browser.

    python scripts/compare_runs.py runs/tiny --out docs/mlflow-compare.jpg

RUN is a finished run of --preset tiny. Needs `chromium` (Debian) or another of its kind on the
path. Keeps nothing but the picture, unless --keep names a folder for runs and MLflow's file.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

RATES = ("0.001", "0.004")  # learning rates: the setting that differs
SAMPLES = 960  # tri-planes a training sees: enough for a curve of 60 points
SIZE = (1600, 1500)  # px of the page
SETTLE = 15.0  # seconds until curves are drawn anew after the page's width has changed
TOOLBARS = ".modebar { display: none !important }"  # of the charts: shown while nobody points
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


def charts(uri: str, port: int) -> str:
    """The address of MLflow's charts of the trainings, side by side."""
    from mlflow import MlflowClient

    experiment = MlflowClient(uri).get_experiment_by_name("rodin-train-base").experiment_id
    return f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?compareRunsMode=CHART"


async def shoot(address: str, browser: str, picture: Path) -> None:
    """The page as a PNG, by the browser's own protocol: once its curves are drawn."""
    import aiohttp

    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        command += ["--disable-dev-shm-usage", f"--window-size={SIZE[0]},{SIZE[1]}", address]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            place = Path(profile) / "DevToolsActivePort"
            await until(lambda: asyncio.sleep(0, place.exists() and place.stat().st_size > 0))
            root = f"http://127.0.0.1:{place.read_text().split()[0]}/json/list"
            async with aiohttp.ClientSession() as session:
                async with session.get(root) as found:
                    tabs = [tab for tab in await found.json() if tab["type"] == "page"]
                async with session.ws_connect(
                    tabs[0]["webSocketDebuggerUrl"], max_msg_size=0
                ) as tab:
                    picture.write_bytes(await drawn(tab))
        finally:
            process.terminate()
            process.wait(30)


async def drawn(tab: Any) -> bytes:
    """A PNG of the tab once all that is in sight is there."""
    count = itertools.count(1)

    async def call(method: str, **words: Any) -> Any:
        number = next(count)
        await tab.send_json({"id": number, "method": method, "params": words})
        while (found := json.loads((await tab.receive()).data)).get("id") != number:
            pass
        return found["result"]

    async def run(script: str) -> Any:
        return (await call("Runtime.evaluate", expression=script))["result"].get("value")

    await until(lambda: run("document.querySelectorAll('.js-plotly-plot').length > 2"))
    # the assistant's panel takes a quarter of the page
    await run("document.querySelector('button[aria-label=Close]')?.click()")
    hide = "document.createElement('style')"
    await run(f"document.head.append(Object.assign({hide}, {{textContent: '{TOOLBARS}'}}))")
    await asyncio.sleep(SETTLE)
    return base64.b64decode((await call("Page.captureScreenshot", format="png"))["data"])


async def until(ready: Callable[[], Awaitable[Any]], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not await ready():
        if time.monotonic() > end:
            raise SystemExit("error: MLflow's page was not drawn in time")
        await asyncio.sleep(0.5)


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
            asyncio.run(shoot(charts(uri, port), browser, shot))
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)
        Image.open(io.BytesIO(shot.read_bytes())).convert("RGB").save(args.out, quality=82)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
