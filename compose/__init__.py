"""Floor 4: the composition root: the `veristream` command line, the demo and the embedded services."""
