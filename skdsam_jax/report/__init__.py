"""Finished runs as tables and pictures; nothing here trains or needs a network."""
