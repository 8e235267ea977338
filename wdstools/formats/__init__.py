"""Pure conversions between bytes and values: no file, clock, environment or process is touched here."""
