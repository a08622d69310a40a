"""From a chosen set to a registered version."""
