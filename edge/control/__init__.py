"""What may be changed while it runs, one typed verb each."""
