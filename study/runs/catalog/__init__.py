"""What can be asked about what is stored: runs, sets, datasets, experts, and the UI."""
