"""Running a model: one callable from images to maps and scores, whatever format stands behind it."""
