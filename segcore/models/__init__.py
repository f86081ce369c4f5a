"""The models: catalogue, architectures, weights and preprocessing."""
