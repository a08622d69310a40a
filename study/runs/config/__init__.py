"""From a request to one frozen configuration."""
