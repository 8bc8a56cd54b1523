"""Data sets from people's own files: sentences, molecules, pictures and tables."""
