"""The folder that is published: its records, and what is checked before any of it is used."""
