"""What people can choose: every option of every verb, declared once.

An option is one line of a ``TypedDict``: its name, its type, its default and what it means. The verb's function takes
the dictionary's entries as keyword arguments, the command line makes flags of them, and the documentation lists them.
Importing these modules imports nothing heavy.
"""
