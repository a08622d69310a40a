"""What matching methods share: features, gradients, batches and the images being learned."""
