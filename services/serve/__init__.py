"""`tael serve`: the whole suite on one machine, as the same processes that a cluster runs."""
