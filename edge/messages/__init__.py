"""What the box says of its pictures: the published, versioned form of each message."""
