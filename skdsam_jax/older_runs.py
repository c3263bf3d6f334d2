"""What a run did of which its version had no field, where today's default is another.

All other fields that are younger than a run changed nothing at their defaults.
"""

from collections.abc import Mapping
from typing import Any

# Section and field to the value that did the same.
_DID = {("model", "convolution"): "direct"}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run, as `config.json` or `summary.json` hold it, with these fields.

    Args:
      config: of sections that hold fields; what is none of both stays as it is.
    """
    completed = dict(config)
    for (section, field), value in _DID.items():
        fields = completed.get(section, {})
        if isinstance(fields, Mapping):
            completed[section] = {field: value, **fields}
    return completed
