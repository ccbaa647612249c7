"""Reads handwritten digits: pictures in, answers out."""
