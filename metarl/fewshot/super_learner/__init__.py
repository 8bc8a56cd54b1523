"""The super learner: base learners chosen or averaged on each task by their cross-validated loss."""
