"""Asks the API server whether the accounts of Stratum may do what `contracts.access` says they must."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from contracts.access import Access, Role, access_of
from stratum.preflight.cluster import WITHIN, Cluster, Refused, told

_AT_ONCE = 8


@dataclass(frozen=True)
class Account:
    """A service account in a role."""

    role: Role
    namespace: str
    name: str

    @property
    def user(self) -> str:
        """As the API server calls it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def groups(self) -> list[str]:
        """The groups that the API server puts it into."""
        return ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]


@dataclass(frozen=True)
class Question:
    """May `account` do `verb` on the resource of `row` in `namespace`?"""

    account: Account
    row: Access
    verb: str
    namespace: str


def questions(account: Account, own_namespace: str, tenant_namespaces: Iterable[str]) -> list[Question]:
    """Everything that the account must be allowed."""
    places = [(row, namespace) for namespace in dict.fromkeys(tenant_namespaces) for row in access_of(account.role, "tenant")]
    places += [(row, own_namespace) for row in access_of(account.role, "own")]
    return [Question(account, row, verb, namespace) for row, namespace in places for verb in row.verbs]


def denied(cluster: Cluster, asked: list[Question]) -> list[Question]:
    """Those that are answered with no.

    Raises:
        Refused: we may not ask for others, and are not that account ourselves.
        Unreachable: the API server does not answer.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda question: _is_allowed(cluster, question), asked))
    return [question for question, allowed in zip(asked, answers, strict=True) if not allowed]


def words(questions: Iterable[Question]) -> str:
    """`create, get jobs.batch in ns`, one for each resource in each namespace."""
    verbs: dict[str, list[str]] = {}
    for question in questions:
        group = f".{question.row.api_group}" if question.row.api_group else ""
        verbs.setdefault(f"{question.row.resource}{group} in {question.namespace}", []).append(question.verb)
    return "; ".join(f"{', '.join(dict.fromkeys(each))} {what}" for what, each in verbs.items())


def _is_allowed(cluster: Cluster, question: Question) -> bool:
    resource, _, subresource = question.row.resource.partition("/")
    attributes = {
        "namespace": question.namespace,
        "verb": question.verb,
        "group": question.row.api_group,
        "resource": resource,
        "subresource": subresource,
    }
    try:
        return _review(cluster, question, attributes)
    except Refused as error:
        if error.status != 403 or _own_name(cluster) != question.account.user:
            raise
    with told():
        body = {"spec": {"resourceAttributes": attributes}}
        return bool(cluster.authorization.create_self_subject_access_review(body, _request_timeout=WITHIN).status.allowed)


def _review(cluster: Cluster, question: Question, attributes: dict[str, Any]) -> bool:
    """Asked inside the namespace: that takes no rights over the whole cluster."""
    body = {
        "metadata": {"namespace": question.namespace},
        "spec": {"user": question.account.user, "groups": question.account.groups, "resourceAttributes": attributes},
    }
    with told():
        review = cluster.authorization.create_namespaced_local_subject_access_review(question.namespace, body, _request_timeout=WITHIN)
    return bool(review.status.allowed)


def _own_name(cluster: Cluster) -> str:
    with told():
        return str(cluster.authentication.create_self_subject_review({}, _request_timeout=WITHIN).status.user_info.username)
