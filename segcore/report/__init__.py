"""Reports: scores as sentences, tables and charts."""
