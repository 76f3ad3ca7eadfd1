"""Bags in and out, without ROS."""
