"""Policies of the LeRobot library, run as they are, and a fast path for SmolVLA."""
