"""The commands, one thin file each. They parse, call the library, and turn expected errors into one line."""
