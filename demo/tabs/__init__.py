"""The page's tabs: layout and event wiring."""
