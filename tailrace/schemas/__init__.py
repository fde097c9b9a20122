"""What each table promises: name, columns with types and meaning, key, checks. No Spark import."""
