"""How fast a model is on this machine, and what machine that is."""
