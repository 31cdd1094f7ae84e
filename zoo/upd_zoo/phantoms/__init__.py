"""Synthetic images of every kind, drawn from a seed: healthy and with lesions."""
