"""Memories, each in a file of its own; ``metarl.adapt.memory.registry`` names them."""
