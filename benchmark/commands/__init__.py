"""The command line's commands, one module a group; each adds its own arguments and acts on them.

Nothing heavy is imported before a command needs it, so that ``--help`` comes at once.
"""
