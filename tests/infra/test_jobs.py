"""Stages as jobs of a real Ray cluster: logs, exit codes, tokens, and no key in what it stores."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.jobs import EXCLUDED, JobError, Jobs, Spec, check_public, default_working_dir
from infra.storage import FileStore
from pipelines import submit
from pipelines.options import UsageError
from pipelines.presets import TINY
from tests.infra.conftest import JobServer
from tests.infra.people import keys_of, make

ROOT = Path(__file__).parents[2]
PLANTED = "planted-key-7f3a9c"


def start(server: JobServer, *words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=server.environment() | {"AWS_SECRET_ACCESS_KEY": PLANTED} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rodin(server: JobServer, *words: str, **env: str) -> subprocess.Popen[str]:
    return start(server, "-m", "pipelines.submit", "--address", server.address, *words, **env)


def ask(server: JobServer, path: str, token: str) -> bytes:
    request = urllib.request.Request(
        server.address + path, headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def test_a_job_from_end_to_end(job_server: JobServer, tmp_path: Path) -> None:
    """One cluster, one test: jobs that end well and badly, a wrong token, nothing secret stored."""
    make(FileStore(tmp_path / "planes"), keys_of(0, 4))
    running = [
        rodin(
            job_server, "--env", "RODIN_PLAIN=seen", "dataset", "ls", str(tmp_path / "planes"),
            MLFLOW_TRACKING_URI="http://127.0.0.1:5999",
        ),
        rodin(job_server, "dataset", "ls", str(tmp_path / "nothing")),
        start(
            job_server, "-c", f"from infra.jobs import Jobs; Jobs({job_server.address!r})",
            RAY_AUTH_TOKEN="wrong" * 10,
        ),
    ]  # fmt: skip
    printed = [process.communicate() for process in running]
    (good, _), (bad, _), (_, refused) = printed
    assert [process.returncode for process in running] == [0, 2, 1], printed
    assert "dataset: submitted as dataset-" in good
    assert "triplanes, 4 samples" in good and "exit code 0" in good
    assert good.strip().endswith("MLflow: open http://127.0.0.1:5999")
    assert "no dataset at" in bad and "exit code 2" in bad
    assert "refuses the token; set RAY_AUTH_TOKEN_PATH" in refused.splitlines()[-1]
    with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
        ask(job_server, "/api/jobs/", "wrong")

    jobs = json.loads(ask(job_server, "/api/jobs/", job_server.token))
    assert {job["status"] for job in jobs} == {"SUCCEEDED", "FAILED"}
    text = json.dumps(jobs)
    assert "RODIN_PLAIN" in text and '"stage": "dataset"' in text and "RODIN_CODE" in text
    everything = [text, *(part for pair in printed for part in pair)]
    for path in job_server.folder.rglob("*"):
        if path.is_file():
            everything.append(path.read_bytes().decode(errors="replace"))
    for secret in (PLANTED, job_server.token):
        assert not any(secret in part for part in everything)


def jobs_of(client: Any) -> Jobs:
    """Of a client that is no server's."""
    jobs = Jobs.__new__(Jobs)
    jobs.address, jobs._client = "http://host:8265", client
    return jobs


def test_what_looks_like_a_key_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", PLANTED)
    for words, env, text in (
        ([], {"AWS_SECRET_ACCESS_KEY": "x"}, "looks like a key"),
        ([], {"HF_TOKEN": "x"}, "looks like a key"),
        ([], {"MLFLOW_TRACKING_PASSWORD": "x"}, "looks like a key"),
        (["--tracking", "http://me:pw@host"], {}, "holds a password"),
        ([], {"MLFLOW_TRACKING_URI": "http://me:pw@host"}, "holds a password"),
        (["--out", f"s3://b/{PLANTED}"], {}, "holds a key of this environment"),
    ):
        with pytest.raises(ValueError, match=text) as caught:
            check_public(words, env)
        assert PLANTED not in str(caught.value) and "pw@" not in str(caught.value)
    check_public(["--out", "s3://bucket/run"], {"RODIN_CACHE": "/tmp/x"})


def test_the_code_travels_without_data() -> None:
    from ray._private.runtime_env.packaging import get_uri_for_directory

    root = default_working_dir()
    assert (Path(root) / "pipelines").is_dir()
    assert {".git", ".venv", "runs"} <= set(EXCLUDED)
    assert get_uri_for_directory(root, True, excludes=list(EXCLUDED)).startswith("gcs://")


def test_of_all_weights_only_the_packages_own_travel(tmp_path: Path) -> None:
    from ray._private.runtime_env.packaging import create_package

    for name in ("rodin/weights/base.safetensors", "out/model.safetensors", "rodin/model.py"):
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(name)
    package = tmp_path / "job.zip"
    create_package(str(tmp_path / "code"), package, True, excludes=list(EXCLUDED))
    with zipfile.ZipFile(package) as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
    assert files == {"rodin/weights/base.safetensors", "rodin/model.py"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["fit"], r"--out \(none\): nodes have no folder in common"),
        (["fit", "--out", "runs/x"], "--out runs/x: nodes"),
        (["fit", "--out=gs://x/y"], "gs://x/y: nodes"),
        (["chain", "--out", "s3://b/x", "--fit.engine.stepz", "3"], "did you mean"),
        (["chain", "--preset", "huge", "--out", "s3://b/x"], "unknown preset"),
        (["--env", "NOT_SET_ANYWHERE", "fit", "--out", "s3://b/x"], "not set here"),
        (["--env", "HF_TOKEN=x", "fit", "--out", "s3://b/x"], "looks like a key"),
        (["bake"], "invalid choice"),
        (["evaluate", "--run", "runs/x"], "--run runs/x: nodes"),
        ([], "required"),
    ],
)
def test_mistakes_before_anything_is_sent(words: list[str], text: str) -> None:
    with pytest.raises((UsageError, ValueError), match=text) as caught:
        submit.specs_of(submit.parser().parse_args(["--address", "http://h:1", *words]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "ray://host:10001", "host:8265", "http://me:pw@host:8265"])
def test_addresses_that_are_no_job_server(address: str) -> None:
    with pytest.raises(ValueError, match="write http://host:8265") as caught:
        Jobs(address)
    assert "pw@" not in str(caught.value)


def test_each_stage_of_a_chain_gets_its_own_settings() -> None:
    words = [
        "chain", "--preset", "tiny", "--out", "s3://b/x", "--fit.engine.steps", "9",
        "--base.seed=3", "render.avatars=4", "--resources.workers", "2", "--retry-failed",
    ]  # fmt: skip
    specs = submit.specs_of(submit.parser().parse_args(words))
    common = ("--preset", "tiny", "--out", "s3://b/x")
    tail = ("--resources.workers", "2", "--retry-failed")
    assert specs["render"].words[2:] == ("pipelines.render", *common, "render.avatars=4", *tail)
    assert specs["fit"].words[2:] == (
        "pipelines.fit", *common, "--fit.engine.steps", "9", *tail
    )  # fmt: skip
    assert specs["train-base"].words[2:] == (
        "pipelines.train", "--stage", "base", *common, "--base.seed=3", *tail
    )  # fmt: skip
    assert specs["report"].words[2:] == ("pipelines.report", *common, "--retry-failed")
    assert specs["evaluate"].words[2:] == ("pipelines.evaluate", "--run", "s3://b/x")
    assert ("train-refiner" in specs) is TINY.refiner.in_chain
    assert len({spec.mark for spec in specs.values()}) == len(specs)
    assert Spec("fit", specs["fit"].words, {}).mark == specs["fit"].mark


def test_a_chain_has_what_the_settings_say() -> None:
    words = ["chain", "--preset", "tiny", "--out", "s3://b/x", "--tracking", "http://m:5000"]
    for flag, there in (("in-chain", True), ("no-in-chain", False)):
        flags = [f"--refiner.{flag}", f"--prior.{flag}"]
        specs = submit.specs_of(submit.parser().parse_args([*words, *flags]))
        assert ("train-refiner" in specs) is there
        assert ("train-prior" in specs) is there
        assert specs["evaluate"].words[-2:] == ("--tracking", "http://m:5000")
    specs = submit.specs_of(submit.parser().parse_args([*words, "--refiner.in-chain"]))
    assert specs["train-refiner"].words[3:5] == ("--stage", "refiner")
    assert specs["train-refiner"].words[-1] == "--refiner.in-chain"


def test_what_learns_from_a_models_work_waits_for_it() -> None:
    for share, waits in (("0", ["fit"]), ("0.5", ["fit", "train-base"])):
        words = ["chain", "--preset", "demo", "--out", "s3://b/x"]
        args = submit.parser().parse_args([*words, f"upsampler.model.from-base={share}"])
        assert submit.order_of(args, submit.specs_of(args))["train-upsampler"] == waits
    for given, waits in (
        ((), ["fit"]),
        (("--refiner.generated",), ["train-base", "train-upsampler"]),
    ):
        words = ["chain", "--preset", "tiny", "--out", "s3://b/x", *given]
        args = submit.parser().parse_args(words)
        assert submit.order_of(args, submit.specs_of(args))["train-refiner"][-len(waits) :] == waits
    args = submit.parser().parse_args(["train", "--out", "s3://b/x", "--stage", "upsampler"])
    assert submit.order_of(args, submit.specs_of(args)) == {"train-upsampler": []}


def test_a_chain_waits_and_stops_where_it_must() -> None:
    after = {name: step.after for name, step in submit.CHAIN.items()}
    events: list[str] = []

    def launcher(bad: str = ""):
        async def launch(name: str) -> int:
            events.append(f"+{name}")
            await asyncio.sleep(0.02)
            events.append(f"-{name}")
            return 3 if name == bad else 0

        return launch

    codes = asyncio.run(submit.run_chain(after, launcher()))
    assert set(codes.values()) == {0}
    for name, before in after.items():
        assert all(events.index(f"-{b}") < events.index(f"+{name}") for b in before)
    assert events.index("+train-upsampler") < events.index("-train-base")  # at once
    events.clear()
    codes = asyncio.run(submit.run_chain(after, launcher("train-base")))
    assert codes == {
        "render": 0, "fit": 0, "train-base": 3, "train-upsampler": 0, "train-refiner": 0,
        "train-prior": None, "sample": None, "evaluate": None, "report": None,
    }  # fmt: skip
    assert "+sample" not in events


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        ("Request failed with status code 500: No available agent to submit job", 3),
        ("Request failed with status code 403: Forbidden", 1),
    ],
)
def test_a_cluster_that_still_starts_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, error: str, tries: int
) -> None:
    monkeypatch.setattr("infra.jobs._WAIT", 0.01)
    asked: list[str] = []

    class Client:
        def list_jobs(self) -> list[str]:
            return []

        def submit_job(self, submission_id: str, **_: object) -> None:
            asked.append(submission_id)
            if len(asked) < 3:
                raise RuntimeError(error)

    jobs = jobs_of(Client())
    spec = Spec("render", ("python", "-m", "pipelines.render"), {})
    if tries == 1:
        with pytest.raises(JobError, match="403"):
            jobs.submit(spec)
    else:
        assert jobs.submit(spec)[1]
    assert len(asked) == tries


@pytest.mark.parametrize(("drops", "ends"), [(2, "SUCCEEDED"), (9, "")])
def test_a_network_that_drops_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, drops: int, ends: str
) -> None:
    monkeypatch.setattr("infra.jobs._WAIT", 0.001)
    asked: list[str] = []

    class Client:
        def get_job_status(self, job: str) -> str:
            asked.append(job)
            if len(asked) <= drops:
                raise requests.exceptions.ConnectionError("refused")
            return "SUCCEEDED"

    jobs = jobs_of(Client())
    if ends:
        assert jobs.state("x") == ends and len(asked) == drops + 1
    else:
        with pytest.raises(JobError, match="refused; check --address"):
            jobs.state("x")


def test_lines_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    write = submit.printer("fit")
    for part in ("one\ntw", "o\n", "thr"):
        write(part)
    assert capsys.readouterr().out == "[fit] one\n[fit] two\n"
    write("")
    write("")
    assert capsys.readouterr().out == "[fit] thr\n"
