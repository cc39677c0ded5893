"""YAML whose mappings have no key twice: plain YAML readers keep the last one in silence."""

from collections.abc import Hashable
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        # a mapping that is merged in (`<<`) may be overridden: only what is written here counts
        written = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if (key.tag, key.value) in written:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is there twice", key.start_mark)
                written.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """The one document of `text` as plain Python values.

    Raises:
        yaml.YAMLError: it is no YAML, or a key is there twice; the message has line and column.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
