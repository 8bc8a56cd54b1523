"""The few-shot learners, one a file."""
