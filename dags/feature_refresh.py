"""Every 15 minutes: load, compute, and push the values that changed. Airflow finds the DAG in this file."""

from tailrace.dags.refresh_dag import feature_refresh

feature_refresh()
