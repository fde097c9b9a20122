"""The files that Airflow's DAG folder holds: one a DAG, which imports it from the package and calls it."""

from pathlib import Path

# Of each DAG, by its id: the module of `tailrace.dags` that has it, and what it is for.
DAGS = {
    "feature_backfill": ("backfill_dag", "On request: compute the values of past times."),
    "feature_maintenance": ("maintenance_dag", "Every night: compact tables and remove old versions."),
    "feature_reconcile": ("reconcile_dag", "Every day: compare gold and the online store, key by key."),
    "feature_refresh": ("refresh_dag", "Every 15 minutes: load, compute, and push the values that changed."),
    "feature_stream": ("stream_dag", "Every minute: keep the stream running, and report when it lags."),
}

# Airflow opens only files in which the words "dag" and "airflow" occur.
TEMPLATE = '''"""{purpose} Airflow finds the DAG in this file."""

from tailrace.dags.{module} import {name}

{name}()
'''


def dag_files() -> dict[str, str]:
    """Return the text of each file, by its name."""
    return {
        f"{name}.py": TEMPLATE.format(name=name, module=module, purpose=purpose)
        for name, (module, purpose) in DAGS.items()
    }


def write_dag_files(folder: Path) -> list[Path]:
    """Write the files into `folder`, over those of an earlier version; other files there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in dag_files().items():
        path = folder / name
        path.write_text(text)
        written.append(path)
    return written
