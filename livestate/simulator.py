"""A placeholder until the next commit."""
