"""Evaluation on held-out tasks: scores, statistics, tables and plots."""
