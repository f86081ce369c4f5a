"""What each of the page's requests is answered with; no Gradio here."""
