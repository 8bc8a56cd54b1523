"""Checks that a family keeps what its declaration promises."""
