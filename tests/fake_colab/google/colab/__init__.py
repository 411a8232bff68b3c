"""Stands in for Colab's own module: as much of it as packages ask for to find out where they run."""

from google.colab import output

__all__ = ["output"]
