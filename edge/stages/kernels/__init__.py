"""Kernels for pictures that are on a GPU, and the little of CUDA's driver that they need."""
