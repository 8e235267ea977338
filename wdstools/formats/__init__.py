"""Pure conversions between bytes and values: nothing here touches a file, the clock, the environment or a process."""
