"""How images reach the device: resident as a whole, or streamed while training runs."""
