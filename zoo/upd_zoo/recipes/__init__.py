"""Recipes: one TOML file per method."""
