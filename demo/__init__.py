"""The page: layout, wiring and handlers around segcore."""
