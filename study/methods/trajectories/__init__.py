"""Students on synthetic images, the exact gradient through their steps, and what is learned."""
