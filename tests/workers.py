"""How `pytest -n` gives tests to its workers: a file as a whole, and all tests of the one platform to one of them."""

from xdist.scheduler import LoadScopeScheduling

_SHARE_A_PLATFORM = ("tests/e2e/", "tests/tpch/", "tests/preflight/test_preflight.py")
_BREAK_A_PLATFORM = ("tests/e2e/test_kills.py", "tests/e2e/test_restart.py")


class ByFile(LoadScopeScheduling):
    """`--dist loadfile`, but for the fixtures `platform` and `doomed`, which are dear: the users of one are one scope."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in _BREAK_A_PLATFORM:
            return "doomed"
        return "platform" if file.startswith(_SHARE_A_PLATFORM) else file
