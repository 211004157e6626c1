"""What a run tells: logs, metrics, status, progress and the table at the end. No Ray here."""
