"""The command line, with one module per command. A command imports PyTorch only when it runs."""
