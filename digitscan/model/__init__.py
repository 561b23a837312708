"""A `.h5` model, what is known about it, and its compiled form."""
