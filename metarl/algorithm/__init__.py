"""Agents with the verbs of Stable-Baselines3: learn, predict, adapt, save, load."""
