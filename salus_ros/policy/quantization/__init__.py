"""Low-bit weights: packing, kernels, and what puts them into a policy."""
