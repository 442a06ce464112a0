"""Instructions that the monitor carries out for a deprivileged guest: decoding, and one small function each."""
