"""Mutants that are no change at all, with the reason: a file an exercise."""
