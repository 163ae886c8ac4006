"""A package of its own: another distribution installs one of the same name, which would hide it."""
