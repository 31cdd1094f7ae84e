"""Readers, phantoms and the prepared store: images in, arrays out, NumPy only."""
