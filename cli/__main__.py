"""``python -m cli``: the command without its installed script."""

from cli.main import main

main()
