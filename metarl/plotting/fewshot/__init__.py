"""Figures of few-shot learning."""
