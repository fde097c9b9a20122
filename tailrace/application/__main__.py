"""What `spark-submit` is given: the command line, from a folder that holds nothing else.

The folder of the file that Python runs comes first on its path; next to other modules of the package these would be found
under two names, and would hide modules of a user's own.
"""

from tailrace.cli import main

if __name__ == "__main__":
    main()
