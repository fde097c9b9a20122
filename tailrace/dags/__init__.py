"""The DAGs and what they share: files in Airflow's folder import one each and call it."""
