"""A writing pad, and what makes MNIST's digits of what is written or photographed."""
