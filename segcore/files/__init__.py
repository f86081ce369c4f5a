"""Files written whole, and fetched whole."""
