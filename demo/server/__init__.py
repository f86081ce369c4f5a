"""The server: protection, uploads, previews, sessions and Gradio's internals."""
