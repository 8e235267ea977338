"""repair: a damaged dataset mended from its own redundancy, copies, or its source."""
