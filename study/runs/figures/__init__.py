"""Pictures that runs record."""
