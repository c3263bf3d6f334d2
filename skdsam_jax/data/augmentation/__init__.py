"""What is done to images on the device before a network sees them."""
