"""The prepared stores that training and evaluation read, and where they lie."""
