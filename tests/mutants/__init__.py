"""Whether the tests would notice: small changes of the code, one at a time, each of which some test has to fail for."""
