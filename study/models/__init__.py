"""Networks: the pool by name, ConvNet-D, and parameters as one flat vector."""
