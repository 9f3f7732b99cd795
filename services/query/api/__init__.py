"""One file an API family out."""
