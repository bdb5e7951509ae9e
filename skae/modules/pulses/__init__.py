"""Networks that locate pulses, and distributions of positions."""
