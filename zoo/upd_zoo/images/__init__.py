"""Images in: bytes distrusted at one gate, read from their containers, and framed to what a model looks at."""
