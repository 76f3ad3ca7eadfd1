"""Early exit: probes watch a policy's layers and narrow the MLPs of those that follow."""
