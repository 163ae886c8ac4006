"""One of two processes of `test_sharding`: trains with DDP or FSDP over gloo on the CPU.

python -m tests.rodin.sharded_rank RANK FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from rodin.training import Trainer, TrainSettings
from tests.rodin import systems

SETTINGS = TrainSettings(
    batch_size=4, learning_rate=1e-3, warmup_samples=0, accumulate=2, ema_widths=(0.1,)
)
STEPS = 3


def trainer_of(kind: str, rank: int) -> Trainer:
    return Trainer(
        systems.base_system(),
        SETTINGS,
        rank=rank,
        workers=2,
        wrap=DistributedDataParallel if kind == "ddp" else None,
        shard=kind == "fsdp",
    )


def steps(trainer: Trainer, rank: int, count: int) -> list[float]:
    batch = systems.make_batch(4, seed=7)
    mine = {name: value[rank::2] for name, value in batch.items()}
    return [trainer.step(mine)["grad_norm"] for _ in range(count)]


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    for kind in ("ddp", "fsdp"):
        trainer = trainer_of(kind, rank)
        norms = steps(trainer, rank, STEPS)
        state, whole = trainer.state_dict(), trainer.ema.state_dict()
        parts = sum(p.to_local().numel() if kind == "fsdp" else p.numel()
                    for p in trainer.system.parameters())  # fmt: skip
        found = {"state": state, "ema": whole, "norms": norms, "parts": parts}
        found["averages"] = {str(w): s for w, s in trainer.averages.items()}
        if rank == 0:
            torch.save(found, folder / f"{kind}.pt")
        distributed.barrier()
    # On from a checkpoint of either kind, by the other.
    for kind, before in (("ddp", "fsdp"), ("fsdp", "ddp")):
        trainer = trainer_of(kind, rank)
        state = torch.load(folder / f"{before}.pt", weights_only=True)["state"]
        trainer.load_state_dict(state)
        steps(trainer, rank, 2)
        state = trainer.state_dict()
        if rank == 0:
            torch.save(state, folder / f"{kind}-goes-on.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
