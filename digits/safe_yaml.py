"""A safe YAML loader whose time and memory are bounded by the length of the file."""

import yaml

_MAX_DEPTH = 20  # lists and dicts in brackets within each other; PyYAML's time grows with the square of the depth


class BoundedLoader(yaml.SafeLoader):
    """A SafeLoader that refuses deep nesting, and aliases: a few of them can stand for gigabytes."""

    def fetch_flow_collection_start(self, token):
        if self.flow_level == _MAX_DEPTH:
            raise yaml.scanner.ScannerError(None, None, "it nests too deeply", self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not accepted", self.peek_event().start_mark)
        return super().compose_node(parent, index)
