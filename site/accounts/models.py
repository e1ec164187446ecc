"""Accounts and the people who work in them. All in the catalog."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models

from caching.mixins import CachingMixin
from routers.models import GlobalModel


class Account(CachingMixin, GlobalModel):
    """A customer. Its id decides its shard."""

    class Plan(models.TextChoices):
        TRIAL = "trial", "Trial"
        TEAM = "team", "Team"
        ENTERPRISE = "enterprise", "Enterprise"

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    plan = models.CharField(max_length=20, choices=Plan, default=Plan.TRIAL)
    credits = models.PositiveIntegerField(default=50, help_text="sessions that may be started")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    """Users are known by their e-mail address, in lower case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person who logs in by e-mail address and works in one account or several.

    Not cached: each login writes to the table, and no password's hash goes to Redis.
    """

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"

    def __str__(self) -> str:
        return self.email


class Membership(CachingMixin, GlobalModel):
    """A person's role in an account."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        RECRUITER = "recruiter", "Recruiter"
        VIEWER = "viewer", "Viewer"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role, default=Role.VIEWER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "account"], name="accounts_membership_once")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.account}: {self.role}"

    @property
    def may_invite(self) -> bool:
        """Whether the role allows changing anything."""
        return self.role in (self.Role.OWNER, self.Role.RECRUITER)
