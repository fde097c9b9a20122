"""Every day: compare gold and the online store, key by key. Airflow finds the DAG in this file."""

from tailrace.dags.reconcile_dag import feature_reconcile

feature_reconcile()
