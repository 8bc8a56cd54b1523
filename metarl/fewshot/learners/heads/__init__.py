"""Heads: learners on features made elsewhere, such as a frozen encoder's, with little to train. One a file."""
