"""Parts of draw.py's window."""
