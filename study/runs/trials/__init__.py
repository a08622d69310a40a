"""One distillation, and the choice among many."""
