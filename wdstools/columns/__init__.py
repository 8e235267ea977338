"""Added columns of a dataset: which sets it has (``sets``), and the values of their columns (``values``)."""
