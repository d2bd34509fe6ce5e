"""How events travel: the live lane, the kept lane and the delivery worker."""
