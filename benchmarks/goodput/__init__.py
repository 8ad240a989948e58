"""What share of a long training on many GPUs is useful time: simulated, and in closed form."""
