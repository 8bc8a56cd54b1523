"""Figures of few-shot learners."""
