"""Foreign tars, made by other tools: their samples as rows of an index, and the problems that readers will have with them."""
