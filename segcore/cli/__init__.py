"""The command line: one module per command, which imports PyTorch only once it runs."""
