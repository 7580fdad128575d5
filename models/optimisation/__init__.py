"""Makes a bundle quicker and says by how much: precision, execution provider, threads and batch, each one measured."""
