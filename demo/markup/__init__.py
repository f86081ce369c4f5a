"""The page's tables and texts, as HTML."""
