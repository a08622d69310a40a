"""Commands that check what is there and record nothing."""
