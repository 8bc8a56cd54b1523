"""The one place that adds over task rows: blocks of them, each computed by one process, put together in block order.

A batch is cut into the same blocks whatever the number of processes, each block is computed by itself, and results are
added block by block. So one process, two and eight round alike, and the numbers are equal bit for bit. A block is the
unit, not a row: matrix products round a row differently by how many rows there are.

The engine is ``torch.distributed``. Messages are safetensors, which hold tensors and run no code.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import safetensors.torch
import torch
from torch import Tensor, distributed

from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.errors import MetaRLError
from metarl.core.optimiser import gradients_of
from metarl.core.types import Params

BLOCKS = 8  # unless another number is given
_HEADER = 8  # bytes in which a message says how long it is
_GRADIENT, _NAMED = "gradient", "named"
Loss = Callable[[slice], tuple[Tensor, Mapping[str, Tensor]]]  # rows -> their share of a loss, quantities to log


class TaskParallel:
    """Cut task rows into blocks, of which this process computes its own, and put all blocks' results together.

    By default there is one process and one block, which leaves every number as it is without.

    Args:
        blocks: of task rows; of fewer rows there are as many blocks as rows.
        rank: number of this process.
        world: number of processes; each has as many blocks as the others, or one more.
        ordered: whether results are gathered and added in block order. Otherwise each process adds its own and the sums
            are all-reduced, whose message is shorter and whose rounding depends on the number of processes.
        device: of the tensors that are put together.
        lost: turns the error of a process that cannot reach another one into words.
    """

    def __init__(
        self,
        blocks: int = 1,
        rank: int = 0,
        world: int = 1,
        *,
        ordered: bool = True,
        device: torch.device | str = "cpu",
        lost: Callable[[Exception], MetaRLError] | None = None,
    ) -> None:
        if blocks < 1:
            raise MetaRLError(f"--blocks {blocks}: there is at least one block of task rows.")
        self.blocks, self.rank, self.world, self.ordered = blocks, rank, world, ordered
        self._device, self._lost = torch.device(device), lost
        self._room: dict[str, int] = {}  # of each kind of message, bytes that the longest one so far took
        self.sent: dict[str, int] = {}  # of each kind, bytes that this process has sent

    @property
    def leads(self) -> bool:
        """Return whether this is the process that writes files and speaks."""
        return self.rank == 0

    def check(self, n_tasks: int) -> None:
        """Raise where a process would have nothing to do in a batch of so many task rows."""
        if self.world > min(self.blocks, n_tasks):
            raise MetaRLError(
                f"{self.world} processes have {n_tasks} tasks in {min(self.blocks, n_tasks)} blocks to share: start at "
                "most one for each block, or train on more tasks in more --blocks."
            )

    def all_rows(self, n_tasks: int) -> list[slice]:
        """Return the blocks of so many task rows, which differ by at most one row."""
        n = max(1, min(self.blocks, n_tasks))
        ends = [n_tasks * i // n for i in range(n + 1)]
        return [slice(first, last) for first, last in pairwise(ends)]

    def rows(self, n_tasks: int) -> list[slice]:
        """Return the blocks that are this process's, which may be none."""
        every = self.all_rows(n_tasks)
        return every[len(every) * self.rank // self.world : len(every) * (self.rank + 1) // self.world]

    def gather(self, parts: Sequence[Mapping[str, Tensor]], kind: str = "parts") -> list[dict[str, Tensor]]:
        """Return the named tensors of all blocks in their order, ``parts`` being those of this process's blocks."""
        if self.world == 1:
            return [dict(part) for part in parts]
        flat = {
            f"{i:04}/{name}": value.detach().cpu().contiguous().clone()
            for i, part in enumerate(parts)
            for name, value in part.items()
        }
        blocks: list[dict[str, Tensor]] = []
        for message in self._exchange(safetensors.torch.save(flat) if flat else b"", kind):
            of_one: dict[str, dict[str, Tensor]] = {}
            for key, value in sorted((safetensors.torch.load(message) if message else {}).items()):
                number, _, name = key.partition("/")
                of_one.setdefault(number, {})[name] = value.to(self._device)
            blocks += of_one.values()
        return blocks

    def rejoin(self, parts: Sequence[Mapping[str, Tensor]], kind: str = "rows") -> dict[str, Tensor]:
        """Return tensors whose first axis is the task row, all blocks' one behind the other."""
        every = self.gather(parts, kind)
        return {name: torch.cat([part[name] for part in every]) for name in every[0]} if len(every) > 1 else every[0]

    def total(self, parts: Sequence[Mapping[str, Tensor]], like: Params, kind: str = "sum") -> dict[str, Tensor]:
        """Return the sums over blocks of named tensors that have the names and shapes of ``like``.

        A name that no block has is left out.
        """
        if not self.ordered and self.world > 1:
            return self._all_reduced(parts, like, kind)
        sums = _added(self.gather(parts, kind))
        return {name: sums[name] for name in like if name in sums}

    def gradient(self, params: Params, n_tasks: int, loss: Loss) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of a loss that is a sum over blocks, without parameters that have no part in it.

        Args:
            params: leaves that require gradients.
            n_tasks: number of task rows.
            loss: gives a block's share of the loss, and shares of quantities to log, whose sums are returned too.
        """
        gradients, named = [], []
        for rows in self.rows(n_tasks):
            value, quantities = loss(rows)
            gradients.append(gradients_of(value, params))
            named.append({name: share.detach() for name, share in quantities.items()})
        return self.totals(gradients, named, params)

    def totals(
        self, gradients: Sequence[Params], named: Sequence[Mapping[str, Tensor]], params: Params
    ) -> tuple[Params, dict[str, Tensor]]:
        """Return the sums of blocks' gradients, and those of named quantities beside them."""
        if not self.ordered and self.world > 1:
            return self.total(gradients, params), _added(self.gather(named, _NAMED))
        both = [
            {**prefixed(_GRADIENT, gradient), **prefixed(_NAMED, dict(quantities))}
            for gradient, quantities in zip(gradients, named, strict=True)
        ]
        sums = _added(self.gather(both, _GRADIENT))
        found = with_prefix(_GRADIENT, sums)
        return {name: found[name] for name in params if name in found}, with_prefix(_NAMED, sums)

    def most(self, value: int) -> int:
        """Return the greatest of the processes' numbers, so that all of them decide alike."""
        if self.world == 1:
            return value
        return max(int.from_bytes(each, "little") for each in self._exchange(value.to_bytes(4, "little"), "decision"))

    def agree(self, words: str, what: str) -> None:
        """Raise where the processes do not all say the same words of something; all wait for the last one here."""
        if self.world == 1:
            return
        said = self._exchange(words.encode(), what)
        for rank, other in enumerate(said):
            if other != said[0]:
                raise MetaRLError(
                    f"Process {rank} has {what} {other.decode()}, and process 0 {said[0].decode()}; give all the same."
                )

    def _all_reduced(self, parts: Sequence[Mapping[str, Tensor]], like: Params, kind: str) -> dict[str, Tensor]:
        mine = _added(parts)
        there = torch.tensor([name in mine for name in like], dtype=torch.float32, device=self._device)
        values = [mine.get(name, torch.zeros_like(value)).flatten() for name, value in like.items()]
        flat = torch.cat([there, *values]).detach()
        self.sent[kind] = self.sent.get(kind, 0) + flat.numel() * flat.element_size()
        try:
            distributed.all_reduce(flat)
        except RuntimeError as error:
            raise self._broken(error) from error
        found = flat[len(like) :].split([value.numel() for value in like.values()])
        return {
            name: part.view_as(value)
            for (name, value), part, n in zip(like.items(), found, flat[: len(like)].tolist(), strict=True)
            if n
        }

    def _exchange(self, message: bytes, kind: str) -> list[bytes]:
        """Return every process's message, in the order of their numbers.

        All are sent in the room that the longest one of their kind has needed so far; where one does not fit, a second
        round has more.
        """
        while True:
            room = self._room.get(kind, 0)
            sent = torch.zeros(_HEADER + room, dtype=torch.uint8)
            whole = len(message).to_bytes(_HEADER, "little") + (message if len(message) <= room else b"")
            sent[: len(whole)] = torch.frombuffer(bytearray(whole), dtype=torch.uint8)
            self.sent[kind] = self.sent.get(kind, 0) + len(sent)
            received = [torch.empty_like(sent) for _ in range(self.world)]
            try:
                distributed.all_gather(received, sent)
            except RuntimeError as error:
                raise self._broken(error) from error
            raw = [each.numpy().tobytes() for each in received]
            lengths = [int.from_bytes(each[:_HEADER], "little") for each in raw]
            if max(lengths) <= room:
                return [each[_HEADER : _HEADER + n] for each, n in zip(raw, lengths, strict=True)]
            self._room[kind] = max(lengths)

    def _broken(self, error: Exception) -> MetaRLError:
        if self._lost is not None:
            return self._lost(error)
        return MetaRLError(f"Another process of this training cannot be reached ({str(error).splitlines()[0]}).")


def _added(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return sums by name, added one block after the other."""
    sums: dict[str, Tensor] = {}
    for part in parts:
        for name, value in part.items():
            sums[name] = sums[name] + value if name in sums else value
    return sums
