"""A folder of images in, results out: one bad input never stops the rest."""
