"""`python -m zatlas`: the command line."""

from zatlas.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
