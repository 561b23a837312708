"""Models: the `.h5` file, its metadata, its compiled form, and the classifier that runs it."""
