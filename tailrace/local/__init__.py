"""Everything on one machine: Airflow, the store and the reader, in the background."""
