"""What every change of a dataset does alike: shards written anew, what follows from them, and how the next version appears."""
