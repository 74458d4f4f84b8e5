"""The one settings file. Everything that differs by place comes from the environment; see contract, section 2."""

import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit
from wsgiref.headers import Headers

from config import env, phones
from onboarding.registration import IdentityDemand

BASE_DIR = Path(__file__).resolve().parent.parent
DOOR = phones.read()
DATA_DIR = DOOR.data_dir

HOST = env.host("HOST", "127.0.0.1")
PORT = env.number("PORT", 8000, least=1, most=65535)
WORKERS = env.number("WORKERS", 2, least=1, most=256)
# Threads of each web process, and how many of them Django may take at once: the others are the phones'.
WEB_THREADS, DJANGO_THREADS = 8, 5
PUBLIC_URL = DOOR.public_url
DEMO = env.flag("DEMO", default=True)

SECRET_KEY = DOOR.secret_key
# Former keys, by which the audit's older seals are still known.
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
# The first seals activation codes, all of them open what was sealed with them.
CODE_KEYS = env.secrets("CODE_KEYS", DATA_DIR / "secrets" / "code_keys", make=secrets.token_urlsafe(32))
DEBUG = False

_LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"]
_PUBLIC = urlsplit(PUBLIC_URL)
_PUBLIC_HOST = f"[{_PUBLIC.hostname}]" if ":" in str(_PUBLIC.hostname) else str(_PUBLIC.hostname)
ALLOWED_HOSTS = env.host_names("ALLOWED_HOSTS", [*_LOCAL_NAMES, _PUBLIC_HOST])
# Where a profile's target must not point: this service itself, as (host, port).
OWN_ADDRESSES = frozenset(
    (host.strip("[]").lower(), port)
    for host in (*_LOCAL_NAMES, HOST, _PUBLIC_HOST, *(name.lstrip(".") for name in ALLOWED_HOSTS))
    for port in {PORT, _PUBLIC.port or {"http": 80, "https": 443}[_PUBLIC.scheme]}
)

INSTALLED_APPS = [
    # The plain form leaves the site to us.
    "unfold.apps.BasicAppConfig",
    "config.adminapp.OnboardingAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    # Of its pages none is mounted: `signin` has its own.
    "allauth.account",
    "allauth.mfa",
    "config",
    "accounts",
    "trust",
    "signin",
    "onboarding",
    "redirect",
    "activation",
    "operations",
    "events",
]

MIDDLEWARE = [
    "config.requests.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": env.database("DATABASE_URL", DATA_DIR / "registry.sqlite3")}
PREPARED_STATEMENTS = env.flag("PREPARED_STATEMENTS", default=True)

PASSWORD_HASHERS = [
    "signin.hashing.Argon2",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

SECURE_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_HTTPS else 0
# From anybody but TRUSTED_PROXIES the header is taken away before it is looked at (`config.requests`).
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains: the domain's other hosts are not ours to bind
    "security.W008",  # redirects to HTTPS: the proxy's, since old phones ask for their paths by plain HTTP
    "security.W021",  # HSTS preloading is for whoever owns the domain
]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
X_FRAME_OPTIONS = "DENY"
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"

# Signing in. A session lasts two weeks; a link to choose a new password, a day.
SESSION_ENGINE = "signin.sessions"
SESSION_COOKIE_AGE = 14 * 86_400
PASSWORD_RESET_TIMEOUT = 86_400
REQUIRE_OPERATOR_SECOND_FACTOR = env.flag("REQUIRE_OPERATOR_SECOND_FACTOR", default=False)
MFA_ADAPTER = "signin.adapter.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_TOLERANCE = 1
ACCOUNT_EMAIL_VERIFICATION = "none"

# No page takes files so far; nothing that somebody uploads ever reaches the disk.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "config.formats"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"


def WHITENOISE_ADD_HEADERS_FUNCTION(headers: Headers, path: str, url: str) -> None:
    """What Django's own answers say too: files are what their type says."""
    headers["X-Content-Type-Options"] = "nosniff"


UNFOLD = {
    "SITE_TITLE": "Phone onboarding",
    "SITE_HEADER": "Phone onboarding",
    "SITE_SUBHEADER": "config.adminsite.organization_names",
    "SITE_SYMBOL": "deskphone",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "config.adminsite.favicon"}],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": False,
    "STYLES": ["config.adminsite.stylesheet"],
    "COLORS": {"primary": "config.adminsite.primary_colors"},
    "DASHBOARD_CALLBACK": "config.home.context",
    "SIDEBAR": {"navigation": "config.adminsite.navigation"},
    "ACCOUNT": {"navigation": "config.adminsite.account_links"},
}

# The theme's Alpine.js evaluates expressions from attributes, and the theme sets its colours in a <style> element.
# Nothing else is loosened: no inline script, no other host, no frames.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["onboarding.api.renderers.QuickJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["onboarding.api.parsers.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.problems.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Phone onboarding",
    "DESCRIPTION": "Register phones, say where they are redirected, and follow each one until it has its profile.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "onboarding.api.schema.complete",
    ],
    "ENUM_NAME_OVERRIDES": {"IdentityDemandEnum": [(str(demand), str(demand)) for demand in IdentityDemand]},
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# Of one API key, on one machine.
API_REQUESTS_PER_MINUTE = env.number("API_REQUESTS_PER_MINUTE", 6000, least=1, most=1_000_000)

_BROKER = DATA_DIR / "broker"
CELERY_BROKER_URL = env.broker("CELERY_BROKER_URL", "filesystem://localhost")
CELERY_BROKER_TRANSPORT = "config.doorbell:Transport" if CELERY_BROKER_URL.startswith("filesystem:") else None
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = (
    {
        "data_folder_in": str(_BROKER / "queue"),
        "data_folder_out": str(_BROKER / "queue"),
        "control_folder": str(_BROKER / "control"),
        "store_processed": False,
        "polling_interval": 0.05,
    }
    if CELERY_BROKER_URL.startswith("filesystem:")
    # RabbitMQ: without confirms a publish that returned may be lost. Redis ignores it.
    else {"confirm_publish": True, "max_retries": 1}
)

# Mails to people whose codes are sent to them: EMAIL_URL and EMAIL_FROM. Without a server they wait.
globals().update(env.mail("EMAIL_URL", f"phones@{_PUBLIC.hostname}"))
SENDS_MAIL = bool(env.text("EMAIL_URL"))

# History and sightings older than this are pruned by the daily job.
AUDIT_KEPT_DAYS = env.number("AUDIT_KEPT_DAYS", 1095, least=1, most=36500)
HISTORY_KEPT_DAYS = env.number("HISTORY_KEPT_DAYS", 730, least=1, most=36500)
RESULTS_KEPT_DAYS = env.number("RESULTS_KEPT_DAYS", 30, least=1, most=3650)
SIGHTINGS_KEPT_DAYS = env.number("SIGHTINGS_KEPT_DAYS", 90, least=1, most=3650)
EVENTS_KEPT_DAYS = env.number("EVENTS_KEPT_DAYS", 30, least=1, most=3650)
JOURNAL_KEPT_HOURS = env.number("JOURNAL_KEPT_HOURS", 24, least=1, most=8760)

# Tests of targets: private networks that they may reach, and authorities beside the system's that sign for servers.
TARGET_NETWORKS = env.networks("TARGET_NETWORKS")
TARGET_CA_FILE = env.certificates("TARGET_CA_FILE")

# Networks that webhooks may be sent to although they are not public; by http too.
WEBHOOK_NETWORKS = env.networks("WEBHOOK_NETWORKS")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "line"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    # Scanners send any Host; each is refused, and none is worth a traceback.
    "loggers": {
        "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False},
        # Each use of a passkey is an entry of the audit already.
        "fido2": {"level": "WARNING"},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
