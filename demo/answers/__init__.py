"""The answers to the page's requests, as plain functions. Nothing here imports Gradio."""
