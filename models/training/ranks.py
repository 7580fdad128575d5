"""One process of several, as torchrun or Ray Train starts them; or the only one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from stream.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which process this is, of how many, and on which device it computes."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes."""
        return self.rank == 0

    def wrapped(self, net: nn.Module) -> nn.Module:
        """The network, its gradients averaged over all processes where there are several."""
        trains = any(parameter.requires_grad for parameter in net.parameters())
        return DistributedDataParallel(net, forward_sync_buffers=False) if self.count > 1 and trains else net

    def mean(self, tensors: list[Tensor]) -> None:
        """Replaces tensors by their mean over all processes."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def told(self, value: float) -> float:
        """What the first process says, on all of them."""
        if self.count == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0)
        return float(tensor)


def processes() -> int:
    """How many processes there are, by torchrun's variables, which Ray Train sets too; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(wish: str) -> Iterator[Ranks]:
    """This process among those of the run: gloo on CPUs, NCCL on GPUs.

    Whoever has joined the processes before, as Ray Train has, also takes them apart.

    Args:
        wish: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        ConfigurationError: There is no GPU where one was asked for.
    """
    if wish == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("torch finds no GPU", where="--device cuda", remedy="Use --device cpu or auto.")
    gpu = wish != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if processes() == 1:
        yield Ranks(0, 1, device)
        return
    if dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
        return
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
