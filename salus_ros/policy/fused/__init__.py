"""Transformer layers in few CUDA kernels, and in plain PyTorch everywhere else."""
