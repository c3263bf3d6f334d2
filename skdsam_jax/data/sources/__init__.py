"""Where images come from: sets that TFDS prepared, folders, and the embedded digits."""
