"""Who asks: subjects from signed tokens."""
