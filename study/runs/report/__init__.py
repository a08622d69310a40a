"""One page over any number of searches."""
