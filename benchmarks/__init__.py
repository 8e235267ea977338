"""Measurements; see README there."""
