"""A node of the command line, spun in a thread of its own while the command does its work."""

from __future__ import annotations

import threading

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from salus_ros.nodes.static_executor import StaticExecutor


class SpunNode:
    """Joins the graph when made; `start` lets callbacks come, `close` ends it."""

    def __init__(self, name: str) -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(name, enable_rosout=False, start_parameter_services=False)
        self._executor = StaticExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)

    def start(self) -> None:
        """Spin; call it once, when all that callbacks need is there."""
        self._thread.start()

    def close(self) -> None:
        """Leave the graph; after `start`."""
        rclpy.try_shutdown()
        self._thread.join(2.0)
        self._executor.shutdown(0.0)
        self.node.destroy_node()

    def _spin(self) -> None:
        while rclpy.ok():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except Exception as error:
                if rclpy.ok():
                    self.node.get_logger().error(repr(error))
