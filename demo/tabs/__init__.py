"""The page's tabs: layout and wiring of each."""
