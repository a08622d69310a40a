"""Real images chosen by a rule: the baselines that learn no pixel."""
