"""A model measured on a test set, beside trivial baselines."""
