"""Sharing trained agents and few-shot learners through the Hugging Face Hub."""

from metarl.hub.sharing import load_from_hub, push_to_hub

__all__ = ["load_from_hub", "push_to_hub"]
