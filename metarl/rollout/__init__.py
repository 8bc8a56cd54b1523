"""Counter-based randomness, trajectories, and the rollout that makes them."""
