"""The site's pages. `accounts`: people's own; `assessments`: an account's and its candidates'.

`admin` and `console`: the staff's. `front` and `contests`: everybody's.
"""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from config import toolbar

urlpatterns = [
    path("admin/", admin.site.urls),
    path("console/", include("console.urls")),
    path("", include("front.urls")),
    path("", include("accounts.urls")),
    path("", include("contests.urls")),
    path("", include("assessments.urls")),
    *toolbar.pages(settings.INSTALLED_APPS),
]
handler400 = "config.views.bad_request"
handler403 = "config.views.permission_denied"
handler404 = "config.views.not_found"
handler500 = "config.views.server_error"
