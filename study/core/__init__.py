"""What every other layer stands on: errors, configuration, seeds, devices, records, files."""
