"""The commands, by what they work on; each parses, calls the library and prints."""
