"""The simulated Panda rig: scene, control, tasks, expert."""
