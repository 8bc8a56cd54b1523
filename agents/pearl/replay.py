"""The replays of PEARL: each task's transitions for actor and critics, and its last trials for contexts."""

import torch
from torch import Tensor


class TaskReplay:
    """Keeps the newest ``capacity`` transitions of each task, as rows of ``width`` numbers on one device."""

    def __init__(self, n_tasks: int, capacity: int, width: int, device: torch.device) -> None:
        self.rows = torch.zeros(n_tasks, capacity, width, device=device)
        self.added = torch.zeros(n_tasks, dtype=torch.int64, device=device)  # so far, the forgotten among them

    @property
    def count(self) -> Tensor:
        """Number of transitions kept of each task, ``(task,)``."""
        return self.added.clamp(max=self.rows.shape[1])

    def add(self, tasks: Tensor, rows: Tensor, valid: Tensor) -> None:
        """Add ``rows`` ``(m, n, width)`` of different tasks ``(m,)``, where ``valid`` ``(m, n)``."""
        capacity = self.rows.shape[1]
        order = valid.cumsum(1)
        # Of more than there is room for the last ones stay.
        kept = valid & (order > order[:, -1:] - capacity)
        place = (self.added[tasks][:, None] + order - 1) % capacity
        self.rows[tasks[:, None].expand_as(place)[kept], place[kept]] = rows[kept]
        self.added[tasks] += order[:, -1]

    def sample(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Draw ``n`` transitions of each of the tasks ``(m,)`` with replacement, ``(m, n, width)``."""
        u = torch.rand(len(tasks), n, generator=generator, dtype=torch.float64).to(self.rows.device)
        return self.rows[tasks[:, None], (u * self.count[tasks][:, None]).long()]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the part that is filled, for an exact resume."""
        return {"rows": self.rows[:, : int(self.count.max())].contiguous(), "added": self.added}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        self.rows.zero_()
        self.rows[:, : saved["rows"].shape[1]] = saved["rows"]
        self.added = saved["added"].to(self.rows.device, copy=True)


class ContextReplay:
    """Keeps the last ``trials`` trials of each task, their transitions in the order of collection."""

    def __init__(self, n_tasks: int, trials: int, episodes: int, steps: int, width: int, device: torch.device) -> None:
        self.elements = torch.zeros(n_tasks, trials, episodes, steps, width, device=device)
        self.valid = torch.zeros(n_tasks, trials, episodes, steps, dtype=torch.bool, device=device)
        self.added = torch.zeros(n_tasks, dtype=torch.int64, device=device)

    def add(self, tasks: Tensor, elements: Tensor, valid: Tensor) -> None:
        """Add a trial ``(m, episode, step, width)`` of different tasks ``(m,)``; it may have fewer steps."""
        slot, steps = self.added[tasks] % self.valid.shape[1], valid.shape[2]
        self.valid[tasks, slot] = False
        self.elements[tasks, slot, :, :steps], self.valid[tasks, slot, :, :steps] = elements, valid
        self.added[tasks] += 1

    def first_episodes(
        self, tasks: Tensor, least: int, generator: torch.Generator, every: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Draw the first K episodes of one of each task's trials, K uniform from ``least`` to all.

        K is the same for all tasks, so that nothing is encoded in vain. With ``every``, K is uniform from 1, and of the
        last of them the first steps alone belong to the context, a multiple of ``every`` for each task. Returns
        elements ``(m, n, width)`` and which of them belong to the context ``(m, n)``: those after an episode's end do
        not.
        """
        u = torch.rand(len(tasks), generator=generator, dtype=torch.float64).to(self.valid.device)
        slot = (u * self.added[tasks].clamp(max=self.valid.shape[1])).long()
        k = int(torch.randint(1 if every else least, self.valid.shape[2] + 1, (), generator=generator))
        member = self.valid[tasks, slot, :k]
        if every:
            u = torch.rand(len(tasks), generator=generator, dtype=torch.float64).to(member.device)
            steps = member[:, -1].sum(-1)
            shown = ((u * (steps / every).ceil()).long() + 1) * every
            member[:, -1] &= torch.arange(member.shape[-1], device=member.device) < shown[:, None]
        return self.elements[tasks, slot, :k].flatten(1, 2), member.flatten(1)

    def failed(self, elements: Tensor, member: Tensor, reward: int, share: float, generator: torch.Generator) -> Tensor:
        """Return which elements belong to contexts of which a share is to hold nothing but episodes without a reward.

        A context stays whole where all its episodes are rewarded.

        Args:
            elements: of ``first_episodes``, ``(m, n, width)``.
            member: which belong to the contexts, ``(m, n)``.
            reward: its place in an element.
            share: of the contexts.
            generator: draws which of them.
        """
        paid = (member & (elements[..., reward] != 0)).unflatten(1, (-1, self.valid.shape[3])).any(2)
        without = member & ~paid.repeat_interleave(self.valid.shape[3], 1)
        chosen = torch.rand(len(member), generator=generator).to(member.device) < share
        return torch.where((chosen & without.any(1))[:, None], without, member)

    def transitions(self, tasks: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``n`` transitions of each task's trials with replacement; all of them belong to the context."""
        valid = self.valid[tasks].flatten(1)
        u = torch.rand(len(tasks), n, generator=generator, dtype=torch.float64).to(valid.device)
        wanted = (u * valid.sum(1, keepdim=True)).long() + 1  # its number among the valid ones, from 1
        place = torch.searchsorted(valid.cumsum(1), wanted)
        return self.elements.flatten(1, 3)[tasks[:, None], place], torch.ones_like(place, dtype=torch.bool)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the trials as tensors, for an exact resume."""
        return {"elements": self.elements, "valid": self.valid, "added": self.added}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        for name in ("elements", "valid", "added"):
            setattr(self, name, saved[name].to(self.valid.device, copy=True))
