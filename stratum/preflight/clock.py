"""How far two clocks may be apart."""

from stratum.preflight.finding import Finding, failed, passed, warned

WARN_SECONDS = 2.0
FAIL_SECONDS = 30.0
_REMEDY = (
    "Let every machine follow one time server (chrony, systemd-timesyncd); deadlines, tokens and signed requests are judged by clocks."
)


def judge(ahead: float, whose: str, other: str, uncertain: float = 0.0) -> Finding:
    """Judge that clock `whose` is `ahead` seconds of clock `other` (negative: behind).

    Args:
        uncertain: how wrong the measurement may be; as much is forgiven.
    """
    apart = abs(ahead)
    detail = f"{whose} is {apart:.1f} s {'ahead of' if ahead >= 0 else 'behind'} {other}"
    if uncertain >= 0.5:
        detail += f" (give or take {uncertain:.1f} s)"
    if apart - uncertain > FAIL_SECONDS:
        return failed(detail, _REMEDY)
    return warned(detail, _REMEDY) if apart - uncertain > WARN_SECONDS else passed(detail)
