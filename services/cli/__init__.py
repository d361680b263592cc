"""Commands: operations and the platform team on the command line; a module for each group."""
