"""A Celery application whose tasks tell, through Redis, for whom they ran."""
