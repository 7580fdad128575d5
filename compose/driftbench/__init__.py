"""The bench of drift: simulated streams of real embeddings, judged by the very code that judges real ones."""
