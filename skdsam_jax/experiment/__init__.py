"""What an experiment is: its config, its recipe, its cell of a table, and the tables."""
