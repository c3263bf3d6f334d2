"""What docs/extending.md holds."""

import pathlib
import re

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, flags=re.DOTALL))
"""Name to text of each file."""

COMMANDS = re.findall(r"^skdsam train (.*)$", PAGE, flags=re.MULTILINE)
"""The flags of each command."""
