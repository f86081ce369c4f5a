"""Images: reading uploads and masks, and drawing results."""
