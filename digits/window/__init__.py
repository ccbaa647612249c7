"""What draw.py's window is made of."""
