"""Make deep-learning models faster and smaller: course, checks and reference code."""

__version__ = "0.1.0"
