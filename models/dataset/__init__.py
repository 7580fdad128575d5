"""Is a set of pictures fit to train on, and which pictures were they?

`checking.check` reads the pictures once and says what is left out and why, whether a model could tell the classes
apart by their files alone, and what the bundle's ``data.json`` says of it all. Nothing that serves imports it.
"""
