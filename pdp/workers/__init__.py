"""Several processes that answer at the same addresses, and the one that looks after them."""
