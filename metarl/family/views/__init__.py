"""Views of a family: a single Gymnasium environment, a vector, Stable-Baselines3's."""
