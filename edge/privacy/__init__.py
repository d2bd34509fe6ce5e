"""What makes redaction provable: the gate, and the encoder behind it."""
