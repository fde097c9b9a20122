"""`python -m tailrace`, and what `spark-submit` is given."""

from tailrace.cli import main

if __name__ == "__main__":
    main()
