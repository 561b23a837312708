"""Where rows go: file formats, the file itself, and the manifest beside it."""
