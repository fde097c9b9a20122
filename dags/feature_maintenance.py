"""Every night: compact tables and remove old versions. Airflow finds the DAG in this file."""

from tailrace.dags.maintenance_dag import feature_maintenance

feature_maintenance()
