"""The grid: many models trained, exported and evaluated by one command, and laid beside each other."""
