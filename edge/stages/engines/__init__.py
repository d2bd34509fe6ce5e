"""What finds people. Every engine keeps one contract and knows no model."""
