"""The forms of an account's pages and of its candidates' pages. All need an account in force."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.forms.models import ModelChoiceIterator

from assessments import selectors
from assessments.models import Candidate, Test, TestSession
from assessments.selectors import SORTS, SessionFilter
from tasks.models import Country, Task

__all__ = ["CsvForm", "InviteForm", "OutputForm", "SessionsForm", "StartForm", "TestForm"]

MAX_CSV_BYTES = 20 * 2**20
DEFAULT_SORT = "-created"
SORT_WORDS = {
    "created": ("Created: newest first", "Created: oldest first"),
    "taken": ("Taken: newest first", "Taken: oldest first"),
    "result": ("Result: best first", "Result: lowest first"),
    "similarity": ("Similarity: highest first", "Similarity: lowest first"),
    "name": ("Name: Z to A", "Name: A to Z"),
    "test": ("Test: Z to A", "Test: A to Z"),
    "status": ("Status: Z to A", "Status: A to Z"),
}


def sort_choices() -> list[tuple[str, str]]:
    """Every order of the table as the URL writes it: `name`, or `-name` for descending."""
    pairs = [(name, SORT_WORDS[name]) for name in SORT_WORDS if name in SORTS]
    return [(f"{sign}{name}", words[sign == ""]) for name, words in pairs for sign in ("-", "")]


class PlainForm(forms.Form):
    """Labels without a colon."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class KeptChoices(ModelChoiceIterator):
    """Choices from the cache. Django's own go past it: they are read by iterator()."""

    def __iter__(self) -> Iterator[Any]:
        if self.field.empty_label is not None:
            yield "", self.field.empty_label
        yield from map(self.choice, self.queryset)


class KeptChoiceField(forms.ModelChoiceField):
    """A choice of rows of a cached model."""

    iterator = KeptChoices


class SessionsForm(PlainForm):
    """What the sessions table shows. A value that makes no sense counts as not given."""

    q = forms.CharField(
        label="Search",
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name, e-mail or code"}),
    )
    status = forms.ChoiceField(
        label="Status", required=False, choices=[("", "Any"), *TestSession.Status.choices]
    )
    test = forms.TypedChoiceField(label="Test", required=False, coerce=int, empty_value=None)
    sort = forms.ChoiceField(label="Order", required=False, choices=sort_choices)

    def __init__(self, data: Any, tests: list[Test]) -> None:
        super().__init__(data)
        self.fields["test"].choices = [("", "Any"), *((t.pk, t.name) for t in tests)]  # type: ignore[attr-defined]

    def wanted(self) -> SessionFilter:
        """The filter for the selector."""
        self.is_valid()
        given = self.cleaned_data
        sort = given.get("sort") or DEFAULT_SORT
        return SessionFilter(
            search=given.get("q") or "",
            status=given.get("status") or "",
            test_id=given.get("test"),
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
        )


class InviteForm(PlainForm):
    """One candidate, one test."""

    name = forms.CharField(
        max_length=Candidate._meta.get_field("name").max_length,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    email = forms.EmailField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    test = KeptChoiceField(queryset=None, empty_label=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["test"].queryset = selectors.tests()  # type: ignore[attr-defined]


class CsvForm(PlainForm):
    """A file of candidates, and the test to invite them to."""

    file = forms.FileField(
        label="CSV file",
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv,text/plain"}),
        help_text="UTF-8, with a header naming the columns email and name; comma, semicolon or tab "
        "between them.",
    )
    test = KeptChoiceField(
        queryset=None,
        required=False,
        empty_label="No test yet: only add the candidates",
        label="Invite to",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["test"].queryset = selectors.tests()  # type: ignore[attr-defined]

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_CSV_BYTES:
            raise forms.ValidationError(
                f"The file has {file.size:,} bytes; {MAX_CSV_BYTES:,} are accepted here. Split it, "
                f"or import it by `manage.py import_candidates`."
            )
        return file


class TestForm(PlainForm):
    """A new test: its name, its time, and a place for each task that is part of it."""

    name = forms.CharField(
        max_length=Test._meta.get_field("name").max_length,
        help_text="Candidates see it too.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    minutes = forms.IntegerField(label="Minutes", min_value=5, max_value=600, initial=90)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tasks = list(Task.objects.order_by("pk"))
        for task in self.tasks:
            self.fields[f"place-{task.slug}"] = forms.IntegerField(
                label=f"Place of {task.title}", required=False, min_value=1, max_value=99
            )

    def task_rows(self) -> list[tuple[Task, forms.BoundField]]:
        """Each task of the library with its field."""
        return [(task, self[f"place-{task.slug}"]) for task in self.tasks]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Test.objects.filter(name=name).exists():
            raise forms.ValidationError("There is a test of that name already.")
        return name

    def clean(self) -> dict[str, Any]:
        places = {task: self.cleaned_data.get(f"place-{task.slug}") for task in self.tasks}
        chosen = [task for task in self.tasks if places[task] is not None]
        if not chosen and not self.errors:
            raise forms.ValidationError("Give at least one task a place in the test.")
        # The sort is stable: tasks of equal place stay in the library's order.
        self.cleaned_data["tasks"] = sorted(chosen, key=lambda task: places[task] or 0)
        return self.cleaned_data


class StartForm(PlainForm):
    """The candidate accepts."""

    country = KeptChoiceField(
        label="The country you are in",
        queryset=Country.objects.none(),
        required=False,
        empty_label="I would rather not say",
    )
    accept = forms.BooleanField(
        label="I have read the rules, and I will solve the tasks by myself.",
        error_messages={"required": "Tick this to begin."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["country"].queryset = Country.objects.order_by("name")  # type: ignore[attr-defined]


class OutputForm(PlainForm):
    """An output, pasted or as a file; the file counts where both are given."""

    file = forms.FileField(label="Output file", required=False, allow_empty_file=True)
    text = forms.CharField(
        label="or paste it here",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "autocomplete": "off"}),
    )

    def clean(self) -> dict[str, Any]:
        if not self.errors and not self.cleaned_data.get("file") and not self.cleaned_data["text"]:
            raise forms.ValidationError("Choose a file, or paste your output.")
        return self.cleaned_data
