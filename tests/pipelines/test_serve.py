"""`rodin serve`: what a request may ask, how wishes are answered, and a real Ray Serve."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from pipelines import serve
from pipelines.serve_app import APP, Service, bind, build, help_text, make
from pipelines.serve_wish import Limits, Refusal, Wish, check_length, wish_of
from rodin.bundle import Bundle
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.model import Model
from tests.infra.conftest import free_port
from tests.rodin.systems import BASE, CHANNELS, base_system, upsampler_system

LIMITS = Limits(max_steps=50, max_size=64, max_voxels=48, max_upload=0.1, max_text=20)
QUICK = "steps=1&size=32"


def portrait(background: bool = False) -> bytes:
    """A file of somebody: cut out, or before noise."""
    pixels = np.zeros((48, 48, 4), np.uint8)
    pixels[12:, 8:40] = [120, 80, 60, 255]
    if background:
        noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
        pixels = np.where(pixels[..., 3:] > 0, pixels[..., :3], noise)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle, untrained but for weights that were zero: what it makes depends on the latent."""
    generator = torch.Generator().manual_seed(0)
    decoder = TriplaneDecoder(DecoderConfig(channels=CHANNELS, hidden=16, density_bias=0.0))
    latents = torch.randn(5, BASE.encoder.latent_dim, generator=generator)
    parts = Bundle(decoder, base_system(), latents, upsampler_system())
    for parameter in parts.base.parameters():
        if not parameter.any():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return str(parts.save(tmp_path_factory.mktemp("bundle")))


def test_a_wish_is_what_was_asked() -> None:
    asked = {"seed": "7", "format": "glb", "steps": "3", "guidance": "1.5", "size": "40"}
    wish = wish_of(asked, b"", LIMITS)
    assert (wish.seed, wish.format, wish.steps, wish.guidance, wish.size) == (7, "glb", 3, 1.5, 40)
    usual = wish_of({}, b"", Limits())
    assert (usual.seed, usual.format, usual.size, usual.steps) == (0, "png", 256, None)
    assert wish_of({"format": "glb"}, b"", LIMITS).size == 48  # a usual size over the limit
    cut_out = wish_of({}, portrait(), LIMITS).portrait
    assert cut_out is not None and cut_out.shape == (48, 48, 4) and cut_out.dtype == np.uint8


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"size": "65"}, "size is '65'; use a whole number from 32 to 64 px"),
        ({"size": "31"}, "from 32 to 64 px"),
        ({"format": "glb", "size": "49"}, "from 32 to 48 voxels"),
        ({"steps": "51"}, "steps is '51'; use a whole number from 1 to 50"),
        ({"steps": "2.5"}, "use a whole number"),
        ({"seed": "-1"}, "seed is '-1'"),
        ({"seed": "9" * 5000}, "seed is '9999"),
        ({"guidance": "nan"}, "guidance is 'nan'; use a number from 0 to 20"),
        ({"text_guidance": "21"}, "text_guidance is '21'"),
        ({"text": "x" * 21}, "text has 21 characters; use at most 20"),
        ({"format": "obj"}, "format is 'obj'; use png, glb, npz"),
        ({"sed": "1"}, "unknown parameter 'sed'; use seed"),
    ],
)
def test_wishes_over_the_limits(asked: dict[str, str], said: str) -> None:
    with pytest.raises(Refusal, match=said) as refusal:
        wish_of(asked, b"", LIMITS)
    assert refusal.value.status == 400 and len(str(refusal.value)) < 200


def test_portraits_that_are_refused() -> None:
    with pytest.raises(Refusal, match=r"has 0\.2 MB or more") as refusal:
        check_length(200_000, LIMITS)
    assert refusal.value.status == 413
    check_length(100_000, LIMITS)
    with pytest.raises(Refusal, match="no image; use PNG") as refusal:
        wish_of({}, b"hello", LIMITS)
    assert refusal.value.status == 422
    with pytest.raises(Refusal, match="background is not plain"):
        wish_of({}, portrait(background=True), LIMITS)
    with pytest.raises(Refusal, match="a text and a portrait exclude each other"):
        wish_of({"text": "a man"}, portrait(), LIMITS)


def test_wishes_made_together_are_those_made_alone(folder: str) -> None:
    model = Model(Bundle.load(folder))
    wishes = [
        Wish(seed=1, size=32, steps=1),
        Wish(seed=2, format="npz", steps=2),
        Wish(seed=3, text="an old man"),
        Wish(seed=1, size=32, steps=1, portrait=wish_of({}, portrait(), LIMITS).portrait),
        Wish(seed=4, format="npz", steps=1),
    ]
    together = make(model, wishes)
    assert [answer.status for answer in together] == [200, 200, 400, 200, 200]
    assert b"trained without texts" in together[2].body
    assert together == [make(model, [wish])[0] for wish in wishes]
    assert together[0] != together[3]
    with Image.open(io.BytesIO(together[0].body)) as sheet:
        assert sheet.size == (5 * 32, 32)
    planes = np.load(io.BytesIO(together[4].body), allow_pickle=False)["planes"]
    expected = model.generate(seed=4, steps=1).planes.numpy()
    np.testing.assert_allclose(planes, expected, rtol=1e-3, atol=1e-3)


def test_planes_without_a_surface(folder: str) -> None:
    model = Model(Bundle.load(folder))
    with torch.no_grad():
        model.bundle.decoder.density.weight.zero_()
        model.bundle.decoder.density.bias.fill_(-9.0)
    answer = make(model, [Wish(format="glb", size=32, steps=1)])[0]
    assert answer.status == 422 and b"no voxel reaches density" in answer.body


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--queue", "0"], "--queue is 0; use at least 1"),
        (["--port", "70000"], "--port is 70000; use 1 to 65535"),
        (["--host", "192.0.2.1"], "cannot listen at 192.0.2.1:8000"),
    ],
)
def test_commands_that_cannot_be_followed(
    folder: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        serve.main([folder, *words])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_no_model_and_a_port_that_is_taken(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        serve.main([str(tmp_path)])
    assert "decoder.safetensors is missing" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SystemExit):
        serve.main([folder, "--port", str(other.getsockname()[1])])
    assert "use another --port" in capsys.readouterr().err


def test_the_config_file_says_what_the_command_says() -> None:
    with pytest.raises(ValueError, match="--queue is 0"):
        build({"model": "x", "queue": 0})
    with pytest.raises(ValueError, match="colour"):
        build({"model": "x", "colour": 1})
    text = help_text(Service(limits=LIMITS))
    assert "1 to 50" in text and "at most 20 characters" in text


@pytest.fixture(scope="module")
def address(ray_local: None, folder: str) -> Iterator[str]:
    """A service with room for one request at work and one that waits."""
    from ray import serve as ray_serve

    port = free_port()
    ray_serve.start(http_options={"host": "127.0.0.1", "port": port})
    ray_serve.run(bind(folder, "", Service(queue=1, cpus=1, limits=LIMITS)), name=APP)
    yield f"http://127.0.0.1:{port}"
    ray_serve.shutdown()


def test_a_service(address: str) -> None:
    def post(query: str, **more: object) -> requests.Response:
        return requests.post(f"{address}/avatars?{query}", timeout=120, **more)  # type: ignore[arg-type]

    assert requests.get(f"{address}/healthz", timeout=60).json() == {"makers": 1}
    assert "POST /avatars" in requests.get(address, timeout=60).text
    one, two = post(f"seed=3&{QUICK}"), post(f"seed=3&{QUICK}")
    assert one.status_code == 200 and one.headers["content-type"] == "image/png"
    assert one.content == two.content != post(f"seed=4&{QUICK}").content
    assert post(f"seed=3&{QUICK}", data=portrait()).status_code == 200

    def chunks() -> Iterator[bytes]:  # of an upload that does not say its length
        for _ in range(40):
            yield bytes(5000)

    for answer, status, said in (
        (post("size=999"), 400, "from 32 to 64 px"),
        (post("text=x"), 400, "trained without texts"),
        (post("", data=bytes(200_000)), 413, "use at most 0.1"),
        (post("", data=chunks()), 413, "use at most 0.1"),
        (post("", data=b"hello"), 422, "no image"),
    ):
        assert answer.status_code == status and said in answer.json()["error"]
    metrics = requests.get(f"{address}/metrics", timeout=60).text
    assert 'rodin_requests_total{status="200"} 4.0' in metrics
    assert 'rodin_requests_total{status="413"} 2.0' in metrics


def test_a_full_queue_sends_away(address: str) -> None:
    def post(seed: int) -> requests.Response:
        query = f"seed={seed}&steps=50&size=32"
        return requests.post(f"{address}/avatars?{query}", timeout=120)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 503}
    away = next(answer for answer in answers if answer.status_code == 503)
    assert "the queue is full: 1 wait, the most; try again" in away.json()["error"]
    assert int(away.headers["Retry-After"]) > 0
    assert requests.post(f"{address}/avatars?{QUICK}", timeout=120).status_code == 200
