"""Networks trained on real images: how they are trained, kept and read back."""
