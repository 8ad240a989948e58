"""The program that runs on every node: plain PyTorch and DeepSpeed. It imports nothing of the other rooms."""
