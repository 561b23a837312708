"""What digitscan needs of the operating system. Standard library only: a scan loads it at start-up."""
