"""Simulated traffic: when uploads arrive, who posts what, and how well the verdicts match the truth."""
