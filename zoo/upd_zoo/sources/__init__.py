"""Data sets in their original layouts: one file each, from which the stores are filled."""
