"""Moving datasets between stores: every byte that arrives is checked before it gets a final name."""
