"""Training data: reading it, augmenting it, and drawing further digits and non-digits."""
