"""What prints the figures of the README: ``mbo bench``."""
