"""The doors: the outbox that keeps parcels, the forwarder, and the stores."""
