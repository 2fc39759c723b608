"""The commands, one file per noun. What they do is in the packages; here are options, words and exit codes."""
