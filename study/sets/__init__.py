"""Synthetic sets as folders: a manifest, tensors, a picture and a card, verified by hash."""
