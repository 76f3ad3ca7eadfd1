"""SmolVLA with LeRobot's numbers and less work: see docs/lerobot.md."""
