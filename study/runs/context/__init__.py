"""What the trials of a run share: data, machine, scores, stores, callbacks."""
