"""Every option of every command, declared once.

An option is one entry of a ``TypedDict``: its name, its type, its default and what it does. The command's function takes
the entries as keyword arguments, the command line turns them into flags, and the documentation lists them. Importing
these modules imports nothing heavy.
"""
