"""What one process at a time may do, from however many machines."""
