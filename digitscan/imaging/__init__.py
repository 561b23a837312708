"""From image files to 28x28 digits: `decode` opens a file, `preprocess` makes what the model sees."""
