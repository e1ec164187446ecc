"""For ansible/status.yml: what each host is asked, and what its answers come to."""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: fulcrum_status
short_description: how the cluster is
description:
  - Looks up `fulcrum`, which makes the cluster's description from the inventory.
options:
  _terms:
    description:
      - "questions: what the module fulcrum_status takes for this host, `ask` and `secrets`."
      - "overview: of what it returned for every host, `text` and `findings`."
    required: true
  results:
    description: for the overview, host → the result of fulcrum_status there.
    type: dict
    default: {}
"""

RETURN = """
_raw:
  description: what was asked for, one value.
  type: list
  elements: raw
"""


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        self.set_options(var_options=variables, direct=kwargs)
        variables = variables or {}
        fulcrum = lookup_loader.get("fulcrum", loader=self._loader, templar=self._templar)
        [described] = fulcrum.run(["description"], variables=variables)
        # That lookup is what makes `infra` known to Python.
        from infra.overview import overview, seen_of
        from infra.questions import questions
        from infra.schema import Description
        from infra.vault import credentials_of, rotation_of

        d = Description.model_validate(described)
        if terms == ["questions"]:
            credentials = credentials_of(variables.get("fulcrum_secrets"))
            rotation = rotation_of(variables.get("fulcrum_rotation"))
            host = str(variables["inventory_hostname"])
            return [vars(questions(d, credentials, rotation, host))]
        if terms == ["overview"]:
            return [overview(d, seen_of(self.get_option("results")))]
        raise AnsibleError(f"fulcrum_status: no {terms}. There are: questions, overview.")
