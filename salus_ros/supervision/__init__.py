"""The safety gate: limits, motion, checks, modes. Neither rclpy nor torch is imported here."""
