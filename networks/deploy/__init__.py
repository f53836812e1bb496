"""What is made of a network for deployment: graphs, rewriting, files for other runtimes."""
