"""Memories that adapt from one step of a trial to the next, one a file."""
