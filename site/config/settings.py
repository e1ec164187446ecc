"""Django's settings. What depends on the cluster comes from `config.cluster`."""

import os
from pathlib import Path

from config import cluster, toolbar

SITE = Path(__file__).resolve().parents[1]
CLUSTER = cluster.load()

SECRET_KEY = CLUSTER["secret_key"]
SECRET_KEY_FALLBACKS = cluster.secret_key_fallbacks(CLUSTER)
DEBUG = CLUSTER["debug"] or os.environ.get("FULCRUM_DEBUG") == "1"
ALLOWED_HOSTS = CLUSTER["allowed_hosts"]
PUBLIC_URL = CLUSTER["public_url"]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "routers",
    "config.admin.SiteAdminConfig",  # behind routers, whose header it takes
    "caching",
    "accounts",
    "tasks",
    "assessments",
    "prepared",
    "contests",
    "front",
    "demo",
    "console",
]
MIDDLEWARE = [
    "routers.health.views.ProbeMiddleware",  # before what needs a host name or a database
    "django.middleware.security.SecurityMiddleware",
    "config.csp.CspMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.outage.OutageMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "routers.middleware.AccountMiddleware",
]
if toolbar.is_wanted(DEBUG):
    INSTALLED_APPS += [toolbar.APP]
    MIDDLEWARE.insert(MIDDLEWARE.index("config.outage.OutageMiddleware"), toolbar.MIDDLEWARE)
    DEBUG_TOOLBAR_PANELS = toolbar.PANELS
    INTERNAL_IPS = ["127.0.0.1"]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [SITE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Databases and sharding
DATABASES = cluster.databases(CLUSTER)
DATABASE_ROUTERS = ["routers.router.ShardRouter"]
SHARDING = {
    "SHARDS": cluster.shard_numbers(CLUSTER),
    "REPLICAS": cluster.replicas(CLUSTER),
    "REFERENCE_SOURCE": CLUSTER["references"],
    "ACCOUNT_FROM_SLUG": "accounts.selectors.account_id_of_slug",
    "MAP_REDIS": CLUSTER["cache"],
    "MAP_FILE": Path(CLUSTER["directory_state"]) / "shard-map.json",
    "PROBE_TOKEN": CLUSTER["probe_token"],
    "POOLER_CONSOLES": CLUSTER["pooler_consoles"],
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = cluster.caches(CLUSTER)
CACHING = cluster.caching(CLUSTER)

# People
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.login.RememberedBackend"]
SESSION_ENGINE = "accounts.sessions"  # in the catalog, and remembered while that is away
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "accounts:home"
LOGOUT_REDIRECT_URL = "accounts:login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"  # an invitation's address is its password
CSRF_FAILURE_VIEW = "config.views.csrf_failure"

# Language, time, files
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [SITE / "static"]
STATIC_ROOT = os.environ.get("FULCRUM_STATIC_ROOT")  # where a release collects them, for nginx
WHITENOISE_USE_FINDERS = True  # served as they lie in the tree: no build step
WHITENOISE_MAX_AGE = 300
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 2**20
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

# Celery; without a broker, tasks run in the process that asks for them
CELERY_BROKER_URL = CLUSTER["broker"] or "memory://"
CELERY_TASK_ALWAYS_EAGER = not CLUSTER["broker"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True  # a killed worker's task is delivered again
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
}
CELERY_BEAT_SCHEDULE = {
    # Expires, so that sweeps do not pile up while no worker runs.
    "sweep": {"task": "assessments.jobs.sweep", "schedule": 10.0, "options": {"expires": 10}},
    "boards": {
        "task": "contests.jobs.renew_boards",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
