"""Nobody unpickles, evaluates or unpacks to disk what comes from elsewhere; the check can fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Messages between a process and its own workers, never files.
OWN_MESSAGES = {("infra/cluster.py", "pickle.loads"), ("infra/child.py", "pickle.loads")}
NEVER = {
    "eval", "exec", "compile", "marshal.load", "marshal.loads", "shelve.open", "joblib.load",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads",
    "dill.load", "dill.loads", "yaml.load", "yaml.unsafe_load", "pandas.read_pickle",
    "os.system", "shutil.unpack_archive",
}  # fmt: skip
ENDS = {"extractall", "extract"}  # of archives, to disk
# Loaders that are safe with one argument.
NEEDS = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"


def offences(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "marshal", "dill"):
            yield f"from {node.module} import"
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in NEVER or ("." in name and name.rsplit(".", 1)[1] in ENDS):
            yield name
        if name in NEEDS:
            wanted, value = NEEDS[name]
            given = {k.arg: k.value for k in node.keywords}.get(wanted)
            if not (isinstance(given, ast.Constant) and given.value is value):
                yield name
        shell = [k for k in node.keywords if k.arg == "shell"]
        if name.startswith("subprocess.") and shell:
            yield f"{name}(shell=)"


@pytest.mark.parametrize("package", ["rodin", "blender", "infra", "pipelines"])
def test_nothing_is_unpickled(package: str) -> None:
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in offences(path.read_text())
    }
    assert found - OWN_MESSAGES == set()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle\npickle.load(file)",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "tarfile.open(path).extractall(folder)",
        "tar.extract(member, folder)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_check_can_fail(line: str) -> None:
    assert list(offences(line))


@pytest.mark.parametrize(
    "line", ["torch.load(p, weights_only=True)", "np.load(p, allow_pickle=False)", "net.eval()"]
)
def test_the_check_allows_what_is_safe(line: str) -> None:
    assert not list(offences(line))
