"""A package with a method of its own, as somebody else might install it beside upd-zoo."""
