"""The command line. One module a noun; libraries that are slow to import are imported by the commands that need them."""
