"""Units of work on a real local Ray: results, bars, errors, workers that die."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra import cluster
from infra.cluster import RecycledProcess, WorkerDied
from infra.plan import Unit
from infra.storage import NotFoundError, StorageError


class Squares:
    """Kills its process once, at unit 2, if there is a file that says it has not yet."""

    def __init__(self, folder: str, offset: int) -> None:
        self.folder, self.offset = Path(folder), offset

    def __call__(self, unit: Unit) -> dict[str, int]:
        with open(self.folder / f"tries-{unit.index}", "a") as file:
            file.write("x")
        if unit.index == 2 and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        square = unit.index**2 + self.offset
        return {"index": unit.index, "square": square, "pid": os.getpid(), "at": time.time()}


class Fails:
    """Refuses unit 1 as the test says."""

    def __init__(self, how: str, folder: str = "") -> None:
        if how == "constructor":
            raise ValueError("no such decoder; run fit first")
        self.how, self.folder = how, Path(folder)

    def __call__(self, unit: Unit) -> dict[str, int]:
        if unit.index == 1:
            if self.how == "value":
                raise ValueError("size 7 is not a power of two; use 8")
            if self.how == "missing":
                raise NotFoundError("s3://b/k", "does not exist", "check the address")
            if self.how == "unpicklable":
                error = RuntimeError("odd")
                error.held = open(os.devnull)  # noqa: SIM115  files do not travel
                raise error
            if self.how == "once" and not (self.folder / "failed").exists():
                (self.folder / "failed").touch()
                raise StorageError("s3://b/k", "S3 failed (503)", "wait", transient=True)
        return {"index": unit.index}


def units(count: int) -> list[Unit]:
    return [Unit("train", index, (f"a{index}", f"b{index}")) for index in range(count)]


def run(worker, arguments, count: int = 4, **kwargs) -> list[dict]:
    # pytest's modules cannot be imported in a worker: let Ray carry the class itself.
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[worker.__module__])
    kwargs = {"actors": 2, "cpus_per_actor": 1, "progress": False, **kwargs}
    return list(cluster.run_units(units(count), worker, arguments, **kwargs))


def test_every_unit_once_though_a_worker_dies(ray_local, tmp_path: Path, capfd) -> None:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    results, late = [], []
    for result in cluster.run_units(units(8), Squares, (str(tmp_path), 100), actors=2, name="sq"):
        results.append(result)
        late.append(time.time() - result["at"])
    assert (tmp_path / "died").exists()
    assert sorted(result["index"] for result in results) == list(range(8))
    assert all(result["square"] == result["index"] ** 2 + 100 for result in results)
    assert len((tmp_path / "tries-2").read_text()) >= 2
    assert len({result["pid"] for result in results}) >= 2
    # Results come one by one: more than two were not held back until the end.
    assert max(late) < max(r["at"] for r in results) - min(r["at"] for r in results)
    text = capfd.readouterr().err
    assert "sq: 100%" in text and "16/16" in text  # our bar counts avatars, two a unit
    assert "Running Dataset" not in text and "Warning" not in text


def test_an_error_of_a_worker_is_raised_as_it_was(ray_local) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(ValueError, match="size 7 is not a power of two; use 8") as caught:
        run(Fails, ("value",), actors=1, progress=lambda done, total: seen.append((done, total)))
    assert "\n" not in str(caught.value)
    assert "Traceback" in str(caught.value.__cause__)
    assert seen in ([], [(2, 8)])


def answer_of(how: str, folder: str = "") -> tuple[str, object]:
    """What an actor would send for unit 1, from the very class that runs in it."""
    runner = cluster._Runner(Fails, (how, folder))
    (data,) = runner({"index": [0], "unit": [pickle.dumps(units(2)[1])]})["answer"]
    return pickle.loads(data)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("constructor", ValueError, "no such decoder; run fit first"),
        ("missing", NotFoundError, "s3://b/k: does not exist"),
        ("unpicklable", RuntimeError, "RuntimeError: odd"),
    ],
)
def test_errors_travel(how: str, kind: type[Exception], words: str) -> None:
    state, (error, text) = answer_of(how)  # type: ignore[misc]
    assert state == "failed" and type(error) is kind and words in str(error)
    assert "Traceback" in text


def test_transient_errors_are_tried_again(tmp_path: Path) -> None:
    assert answer_of("once", str(tmp_path)) == ("done", {"index": 1})
    assert (tmp_path / "failed").exists()


def test_no_units_and_impossible_resources(ray_local) -> None:
    assert run(Squares, ("", 0), 0) == []
    with pytest.raises(ValueError, match="asks for 3 GPU, the largest node has 0"):
        run(Squares, ("", 0), gpus_per_actor=3)


def test_a_cluster_that_lost_nodes_goes_on_with_what_it_has(ray_local, tmp_path, capsys) -> None:
    (tmp_path / "died").touch()
    cpus = os.cpu_count() or 1  # the local Ray has one more
    results = run(Squares, (str(tmp_path), 0), 6, actors=6, cpus_per_actor=cpus)
    assert sorted(result["index"] for result in results) == list(range(6))
    told = f"6 workers were asked for, the cluster has room for {(cpus + 1) // cpus}"
    assert told in capsys.readouterr().err


def test_sessions_nest(ray_local) -> None:
    import ray

    with cluster.connect() as inner:
        assert inner is ray
    assert ray.is_initialized()


def test_a_ray_of_our_own_asks_for_a_token(ray_local) -> None:
    """Its ports are open to the network: without one whoever reaches them may run code."""
    from ray._raylet import AuthenticationMode, get_authentication_mode

    assert get_authentication_mode() == AuthenticationMode.TOKEN


def test_plain_units_count_one() -> None:
    assert cluster._size({"keys": 1}) == 1 and cluster._size(SimpleNamespace(keys=("a", "b"))) == 2


# -- the recycled child -------------------------------------------------------------------------


def test_child_is_recycled_and_hides_main() -> None:
    main = vars(sys.modules["__main__"])
    before = {name: main.get(name) for name in ("__file__", "__spec__")}
    with RecycledProcess(tasks_per_child=2) as child:
        pids = [child.call(os.getpid) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert os.getpid() not in pids
    assert {name: main.get(name) for name in before} == before


def test_death_is_told_and_the_next_call_works() -> None:
    with RecycledProcess() as child:
        with pytest.raises(WorkerDied, match="running _exit died"):
            child.call(os._exit, 11)
        assert child.call(abs, -3) == 3
        with pytest.raises(ZeroDivisionError):
            child.call(divmod, 1, 0)
        pid = child.call(os.getpid)
        with pytest.raises(WorkerDied, match=r"sleep took more than 0\.2 s"):
            child.call(time.sleep, 60, timeout=0.2)
        assert child.call(os.getpid) != pid


PARENT = """
import sys, os
sys.path.insert(0, {root!r})
from infra.child import RecycledProcess

def of_the_main_module(number):
    return os.getpid() + number

child = RecycledProcess()
print(child.call(of_the_main_module, 0), flush=True)
os.kill(os.getpid(), 9)
"""


def test_child_ends_with_a_killed_parent() -> None:
    code = PARENT.format(root=str(Path(__file__).resolve().parents[2]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    for _ in range(100):
        if (
            not Path(f"/proc/{pid}").exists()
            or "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
        ):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child outlived its parent")
