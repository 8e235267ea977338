"""Whether the tests would notice: small changes to the code, one at a time, each of which should make some test fail."""
