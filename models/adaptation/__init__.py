"""Adaptation: a bundle learns a new source from a few labels, in seconds. Needs the ``adapt`` extra and no torch."""
