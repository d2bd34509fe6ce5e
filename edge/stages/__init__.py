"""What happens to a picture, in walking order: decode, black out, detect, redact."""
