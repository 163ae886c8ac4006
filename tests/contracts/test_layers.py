"""Who may import whom; and that the check itself can fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = ("rodin", "blender", "infra", "pipelines", "tests")
# `rodin.conventions` is numpy only and holds the frames that all layers share.
SHARED = "rodin.conventions"
ALLOWED = {
    "rodin": {"rodin"},
    "blender": {"blender"},
    "infra": {"infra"},
    "pipelines": {"pipelines", "rodin", "infra"},
}
# What a module of the library may import when it is loaded (elsewhere only inside functions).
LIGHT = {"rodin": {"torch", "numpy", "einops"}}
# Libraries that belong to one layer.
NEVER = {
    "rodin": {"ray", "mlflow", "bpy", "argparse", "tyro", "boto3"},
    "blender": {"ray", "mlflow", "torch"},
    "infra": {"bpy"},
}


def imports(source: str, package: str = "") -> Iterator[tuple[str, bool, bool]]:
    """(module, at module level, inside the render worker) of every import of a file."""
    tree = ast.parse(source)
    inside: set[ast.AST] = set()
    worker: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside.update(ast.walk(node))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            inside.update(ast.walk(node))
        if getattr(node, "name", "") in ("render_person", "RenderWorker"):
            worker.update(ast.walk(node))
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {package}"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names:
            yield name, node not in inside, node in worker


def violations(package: str, source: str) -> list[str]:
    """What a file of `package` imports and must not."""
    import sys

    found = []
    for name, top, worker in imports(source, package):
        root = name.split(".")[0]
        if root in NEVER.get(package, ()):
            found.append(f"{package} imports {root}")
        if root in OWN:
            fine = root in ALLOWED[package] or name.startswith(SHARED)
            if package == "pipelines" and root == "blender":
                fine = worker
            if not fine:
                found.append(f"{package} imports {name}")
        elif top and root not in LIGHT.get(package, {root}) | sys.stdlib_module_names:
            found.append(f"{package} imports {root} when it is loaded")
    return found


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ALLOWED)
def test_layers(package: str) -> None:
    paths = files(package)
    assert len(paths) >= 5
    for path in paths:
        assert not violations(package, path.read_text()), path


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("rodin", "import ray"),
        ("rodin", "def f():\n    import mlflow"),
        ("rodin", "from infra.storage import open_store"),
        ("rodin", "from PIL import Image"),
        ("infra", "from rodin.record import decode_views"),
        ("infra", "import pipelines.fit"),
        ("blender", "from rodin.cameras import rays"),
        ("pipelines", "from blender.spec import sample_spec"),
        ("pipelines", "def other():\n    from blender.spec import sample_spec"),
        ("pipelines", "from tests.conftest import asset_cache"),
    ],
)
def test_the_layer_test_can_fail(package: str, line: str) -> None:
    assert violations(package, line)


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("rodin", "def f():\n    from PIL import Image"),
        ("blender", "from rodin.conventions import PLANE_AXES"),
        ("pipelines", "def render_person():\n    from blender.spec import sample_spec"),
    ],
)
def test_the_layer_test_allows_what_is_allowed(package: str, line: str) -> None:
    assert not violations(package, line)


def test_the_library_needs_torch_numpy_and_einops_alone(tmp_path: Path) -> None:
    """Every module of rodin/ is imported with all other third-party packages hidden."""
    import subprocess
    import sys

    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in files("rodin")
    ]
    code = f"""
import sys
class Hide:
    names = {{"PIL", "safetensors", "imageio", "skimage", "trimesh", "lpips", "torchvision",
             "scipy", "ray", "mlflow", "bpy", "boto3", "pyarrow", "tqdm", "matplotlib",
             "efficientnet_lite_pytorch", "webdataset", "pydantic", "tyro"}}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ImportError("hidden: " + name)
sys.meta_path.insert(0, Hide())
import importlib
for name in {modules!r}:
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
