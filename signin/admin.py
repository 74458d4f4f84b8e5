"""What allauth registers on the admin site is no page of ours: people keep their factors on the account page."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin

admin.site.unregister([EmailAddress, Authenticator])
