"""What scores say, in words, tables and pictures."""
