"""Fitting a method to images: batches, the only optimisation loop, and what lets it go on after a kill."""
