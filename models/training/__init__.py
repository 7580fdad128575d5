"""Training: pictures in, a bundle out. Needs the ``train`` extra; nothing that serves imports it."""
