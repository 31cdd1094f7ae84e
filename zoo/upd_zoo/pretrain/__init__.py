"""Self-supervised pre-training of the networks that methods start from."""
