"""What is particular to a Franka robot behind franka_ros2; no ROS types here."""
