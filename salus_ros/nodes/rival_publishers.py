"""Other publishers of what one node alone may publish."""

from __future__ import annotations

from salus_ros.nodes.managed_node import ManagedNode


def rival_publishers(node: ManagedNode, topics: tuple[str, ...]) -> str:
    """In one line; "" where there is none that discovery has found."""
    found = (_rivals_on(node, topic) for topic in topics)
    return "; ".join(line for line in found if line)


def _rivals_on(node: ManagedNode, topic: str) -> str:
    infos = node.get_publishers_info_by_topic(topic)
    names = [f"{i.node_namespace.rstrip('/')}/{i.node_name}" for i in infos]
    own = f"{node.get_namespace().rstrip('/')}/{node.get_name()}"
    if node.active and own in names:
        names.remove(own)  # once: a namesake is a rival, too
    return f"{topic} has another publisher, {', '.join(names)}" if names else ""
