"""The only door to Delta: the Spark session, the tables and the state that is committed with them."""
