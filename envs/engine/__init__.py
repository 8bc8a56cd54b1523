"""Engines: how families are stepped."""
