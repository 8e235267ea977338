"""demo: a small dataset made and packed, to try everything on."""
