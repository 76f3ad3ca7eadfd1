"""SALUS ROS: vision-language-action policies on robot arms, fast and supervised."""

__version__ = "0.1.0"
