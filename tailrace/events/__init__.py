"""Where events come from: an invented workspace, a git history, a file; and how they land."""
