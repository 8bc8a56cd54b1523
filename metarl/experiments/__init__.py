"""Run folders, the training of their seeds, and logs, for agents and few-shot learners alike."""
