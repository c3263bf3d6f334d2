"""How long tests wait, for which no machine is too slow."""

# Seconds after which a process hangs for certain.
HANGING = 3600
