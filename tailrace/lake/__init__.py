"""Delta, and nothing else opens it: the Spark session, the tables and the state that is committed with them."""
