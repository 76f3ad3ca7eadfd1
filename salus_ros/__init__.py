"""SALUS ROS: vision-language-action policies on robot arms, fast and supervised."""

from salus_ros import compiled

__version__ = "0.1.0"

compiled.check()
