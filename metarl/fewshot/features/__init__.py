"""Encoders, which turn people's own items (sentences, molecules, pictures, rows of tables) into vectors."""
