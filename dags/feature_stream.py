"""Every minute: keep the stream running, and report when it lags. Airflow finds the DAG in this file."""

from tailrace.dags.stream_dag import feature_stream

feature_stream()
