"""On request: compute the values of past times. Airflow finds the DAG in this file."""

from tailrace.dags.backfill_dag import feature_backfill

feature_backfill()
