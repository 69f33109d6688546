"""What the service measures of itself, and the traces of its calls."""
