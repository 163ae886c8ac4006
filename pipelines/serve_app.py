"""The service behind `rodin serve`, on Ray Serve: a door that checks, and makers behind a queue.

The door refuses what is over a limit before it costs anything; the makers take the waiting wishes
in batches (on a CPU one by one: a batch there is no faster, and its first wish would wait for its
last). Who finds the queue full is told so at once.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from ray import serve
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ReplicaState

from pipelines import pictures
from pipelines.generate import open_model, views
from pipelines.serve_wish import MEDIA, Limits, Refusal, Wish, check_length, wish_of
from rodin.avatar import Avatar
from rodin.model import Model

APP = "rodin"  # the application's name within Ray Serve
BATCH = 8  # wishes that a copy on a GPU makes at a time
_DOOR_MORE = 16  # requests at the door beyond those queued: they are told so
_RETRY_S = 5  # after which a client that was sent away may ask again


@dataclass(frozen=True)
class Service:
    """How much is made at a time."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a config file's misspelt knob

    # copies of the model, each in a process of its own
    replicas: int = 1
    # requests that may wait for a free copy; the next one gets 503
    queue: int = 32
    # CPU cores of a copy
    cpus: float = 2.0
    # GPUs of a copy; 0: it works on the CPU
    gpus: float = 0.0
    # seconds that a request may take, waiting included; then it gets 504
    timeout: float = 300.0
    # how much one request may ask for
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, low in (("replicas", 1), ("queue", 1), ("cpus", 0), ("gpus", 0), ("timeout", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"--{name} is {getattr(self, name)}; use at least {low}")


@dataclass(frozen=True)
class Answer:
    """What a maker has to say: a file, or why there is none."""

    body: bytes
    status: int = 200


def make(model: Model, wishes: Sequence[Wish]) -> list[Answer]:
    """The answers to wishes, in order: those with the same sampling are drawn together."""
    answers: dict[int, Answer] = {}
    groups: dict[tuple[int | None, float], list[tuple[int, torch.Tensor]]] = {}
    for i, wish in enumerate(wishes):
        try:
            latent = _latent(model, wish)
        except ValueError as error:  # such as a text for a model that knows none
            answers[i] = Answer(str(error).encode(), 400)
            continue
        groups.setdefault((wish.steps, wish.guidance), []).append((i, latent))
    for (steps, guidance), members in groups.items():
        avatars = model.from_latents(
            torch.stack([latent for _, latent in members]),
            [wishes[i].seed for i, _ in members],
            guidance=guidance,
            steps=steps,
            facts=[_facts(wishes[i]) for i, _ in members],
        )
        for (i, _), avatar in zip(members, avatars, strict=True):
            try:
                answers[i] = Answer(encode(avatar, wishes[i]))
            except ValueError as error:  # such as planes without a surface
                answers[i] = Answer(str(error).encode(), 422)
    return [answers[i] for i in range(len(wishes))]


def _latent(model: Model, wish: Wish) -> torch.Tensor:
    if wish.portrait is not None:
        return model.latent_of(wish.portrait)
    return model.draw_latents([wish.seed], wish.text or None, guidance=wish.text_guidance)[0]


def _facts(wish: Wish) -> dict[str, Any]:
    facts: dict[str, Any] = {"guidance": wish.guidance, "steps": wish.steps}
    return facts | ({"text": wish.text} if wish.text else {})


def encode(avatar: Avatar, wish: Wish) -> bytes:
    """The avatar as a PNG sheet of five views, a GLB mesh or an NPZ tri-plane."""
    if wish.format == "png":
        return pictures.png(pictures.grid([views(avatar, wish.size)]))
    with tempfile.TemporaryDirectory(prefix="rodin-") as folder:
        size = wish.size if wish.format == "glb" else None
        return avatar.save(Path(folder) / f"avatar.{wish.format}", size=size).read_bytes()


class Maker:
    """One copy of the model."""

    def __init__(self, address: str, tracking: str, on_gpu: bool) -> None:
        device = "cuda" if on_gpu else "cpu"
        with open_model(address, tracking, device) as self.model:
            self.make.set_max_batch_size(self.model.batch)  # type: ignore[attr-defined]

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.05)
    async def make(self, wishes: list[Wish]) -> list[Answer]:
        # In a thread: more wishes arrive meanwhile, and health checks are answered.
        return await asyncio.to_thread(make, self.model, wishes)


class Door:
    """Checks requests, hands them on, counts."""

    def __init__(self, maker: DeploymentHandle, service: Service) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.maker, self.service = maker, service
        self.registry = CollectorRegistry()
        self.answered = Counter(
            "rodin_requests", "Requests for avatars", ["status"], registry=self.registry
        )
        self.waiting = Gauge("rodin_waiting", "Requests under way", registry=self.registry)
        self.seconds = Histogram(
            "rodin_seconds", "Seconds from a request to its avatar", registry=self.registry,
            buckets=(0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320),
        )  # fmt: skip
        self.reading = asyncio.Lock()  # one upload is unpacked at a time: it may have 67 Mpx

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = FastAPI(title="Rodin", docs_url=None, redoc_url=None, openapi_url=None)
        app.post("/avatars")(self.avatars)
        app.get("/healthz")(self.health)
        app.get("/metrics")(self.metrics)
        app.get("/")(self.help)
        return app

    async def avatars(self, request: Request) -> Response:
        began = time.perf_counter()
        with self.waiting.track_inprogress():
            try:
                response = await self._answer(request)
                self.seconds.observe(time.perf_counter() - began)
            except Refusal as refusal:
                response = JSONResponse({"error": str(refusal)}, refusal.status)
                if refusal.status == 503:
                    response.headers["Retry-After"] = str(_RETRY_S)
        self.answered.labels(str(response.status_code)).inc()
        return response

    async def _answer(self, request: Request) -> Response:
        limits = self.service.limits
        if (said := request.headers.get("content-length", "")).isdecimal():
            check_length(int(said[:18]), limits)
        body = b""
        async for part in request.stream():
            body += part
            check_length(len(body), limits)
        async with self.reading:
            wish = await asyncio.to_thread(wish_of, request.query_params, body, limits)
        try:
            answer = await asyncio.wait_for(self._made(wish), self.service.timeout)
        except BackPressureError:
            raise Refusal(
                503, f"the queue is full: {self.service.queue} wait, the most; try again in a while"
            ) from None
        except TimeoutError:
            raise Refusal(
                504, f"no avatar within {self.service.timeout:g} s; try again in a while"
            ) from None
        if answer.status != 200:
            raise Refusal(answer.status, answer.body.decode())
        name = f'inline; filename="avatar-{wish.seed:06d}.{wish.format}"'
        return Response(
            answer.body, media_type=MEDIA[wish.format], headers={"Content-Disposition": name}
        )

    async def _made(self, wish: Wish) -> Answer:
        return await self.maker.make.remote(wish)

    async def health(self) -> Response:
        status = await asyncio.to_thread(serve.status)
        found = status.applications[APP].deployments["Maker"].replica_states
        running = found.get(ReplicaState.RUNNING, 0)
        return JSONResponse({"makers": running}, 200 if running else 503)

    async def metrics(self) -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    async def help(self) -> Response:
        return PlainTextResponse(help_text(self.service))


def help_text(service: Service) -> str:
    """What a person reads at /."""
    limits = service.limits
    return f"""Rodin makes avatars.

  curl -X POST 'HOST/avatars?seed=3' -o three.png
  curl -X POST 'HOST/avatars?seed=3&format=glb' -o three.glb
  curl -X POST 'HOST/avatars?text=old+man+with+a+grey+beard' -o old.png
  curl -X POST 'HOST/avatars?format=glb' --data-binary @me.png -o me.glb

POST /avatars   the same request gives the same bytes
  seed           whole number, default 0
  text           who it should be, at most {limits.max_text} characters (models with a prior)
  body           a portrait: PNG, JPEG or WebP, cut out or before a plain background, at most
                 {limits.max_upload:g} MB
  format         png (five views, default), glb (mesh) or npz (tri-plane)
  size           px of a view, 32 to {limits.max_size}; voxels of a mesh, 32 to {limits.max_voxels}
  steps          of each diffusion, 1 to {limits.max_steps}, default: the model's own
  guidance       0 to 20, default 1; text_guidance 0 to 20, default 1.25
GET /healthz     200 while a copy of the model works
GET /metrics     for Prometheus

Over a limit: 4xx and the reason. More than {service.queue} waiting: 503, try again.
"""


def bind(address: str, tracking: str, service: Service) -> serve.Application:
    """The application of a model's address, for `serve.run`."""
    ongoing = 2 * BATCH if service.gpus else 1  # a batch is made while the next one gathers
    # Not decorators: a class that its module shows is sent to workers by its name, not its text.
    maker: Any = serve.deployment(Maker)
    door: Any = serve.deployment(serve.ingress()(Door))
    maker = maker.options(
        num_replicas=service.replicas,
        max_ongoing_requests=ongoing,
        max_queued_requests=service.queue,
        ray_actor_options={"num_cpus": service.cpus, "num_gpus": service.gpus},
    )
    places = service.queue + ongoing * service.replicas + _DOOR_MORE
    door = door.options(
        name="Door",
        max_ongoing_requests=places,
        max_queued_requests=places,
        ray_actor_options={"num_cpus": 0},  # it waits and counts
    )
    return door.bind(maker.bind(address, tracking, service.gpus > 0), service)


def build(args: dict[str, Any]) -> serve.Application:
    """The application of a Serve config file: model, tracking, and fields of `Service`.

    Without a model it is that of the package.
    """
    from pydantic import TypeAdapter

    rest = dict(args)
    address, tracking = str(rest.pop("model", "")), str(rest.pop("tracking", ""))
    return bind(address, tracking, TypeAdapter(Service).validate_python(rest))
