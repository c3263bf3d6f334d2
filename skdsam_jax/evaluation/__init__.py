"""What a network is worth: measures of every exit, and of what they say together."""
