"""The queue of requests, and each visitor's pending request."""
