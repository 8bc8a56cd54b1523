"""What everything else stands on: types, the learner's protocol, distributions, networks, randomness, files."""
