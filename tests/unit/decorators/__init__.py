"""TaskFlow: functions as tasks, mapped tasks, and groups that share a compute."""
